# SPDX-License-Identifier: BSD-3-Clause
set(cmd ${PROJECT_SOURCE_DIR}/posix_ckpt/cmd)
ckpt_unit_test(attr SOURCES test_attr.c ${cmd}/attr.c ${cmd}/text.c)
ckpt_unit_test(cmd_text SOURCES test_cmd_text.c ${cmd}/text.c ${cmd}/json.c)
target_include_directories(unit.attr PRIVATE ${cmd})
target_include_directories(unit.cmd_text PRIVATE ${cmd})
