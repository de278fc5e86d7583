# SPDX-License-Identifier: BSD-3-Clause
ckpt_unit_test(image SOURCES test_image.c image_sample.c TIMEOUT 60)
target_compile_definitions(unit.image PRIVATE CKPT_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")

ckpt_unit_test(store SOURCES test_store.c store_fixture.c image_sample.c TIMEOUT 60)
ckpt_unit_test(store_reuse SOURCES test_store_reuse.c store_pages.c store_fixture.c image_sample.c
  TIMEOUT 120)
ckpt_unit_test(store_crash SOURCES test_store_crash.c store_pages.c store_fixture.c image_sample.c
  TIMEOUT 120
  WRAP write pwrite pread fsync ftruncate renameat unlinkat mkdirat)

# Made tests/data/image-v1.ckpt; see there.
add_executable(make_golden_image EXCLUDE_FROM_ALL make_golden_image.c image_sample.c)
target_link_libraries(make_golden_image PRIVATE ckpt_hosted)

add_test(NAME unit.image_doc COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/image_doc.py ${CMAKE_C_COMPILER}
  ${PROJECT_SOURCE_DIR}/posix_ckpt/src ${PROJECT_SOURCE_DIR}/docs/format/image-v1.md image/format.h)
ckpt_test_properties(unit.image_doc)
add_test(NAME unit.protocol_doc COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/image_doc.py
  ${CMAKE_C_COMPILER} ${PROJECT_SOURCE_DIR}/posix_ckpt/src
  ${PROJECT_SOURCE_DIR}/docs/design/0002-agent-protocol.md agent/protocol.h agent/resume.h)
ckpt_test_properties(unit.protocol_doc)
