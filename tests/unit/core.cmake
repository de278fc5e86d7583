# SPDX-License-Identifier: BSD-3-Clause
ckpt_unit_test(cpus)
ckpt_unit_test(runs)
