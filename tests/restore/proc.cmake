# SPDX-License-Identifier: BSD-3-Clause
# Processes: trees, sessions and groups, ended ones, attributes; what a caller of cpr -r sees.
ckpt_restore_test(proc_tree VARIANTS kill cont twice reboot user fresh)
ckpt_restore_test(proc_zombie VARIANTS kill cont twice reboot user fresh)
ckpt_restore_test(proc_group)
ckpt_restore_test(proc_attr ARGS "first argument" "second argument")
