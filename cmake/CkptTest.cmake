# SPDX-License-Identifier: BSD-3-Clause
# How tests are registered.  Names are <kind>.<area>[.<case>]; the kind is also the label.
# Every test has a time limit and says "skipped" with exit status 77.

# ckpt_test_properties(NAME [TIMEOUT s] [LABELS l...])
function(ckpt_test_properties name)
  cmake_parse_arguments(T "" "TIMEOUT" "LABELS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  string(REGEX MATCH "^[^.]+" kind ${name})
  list(APPEND T_LABELS ${kind})
  list(REMOVE_DUPLICATES T_LABELS)
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}" SKIP_RETURN_CODE 77)
endfunction()

# What the sanitized builds need: the tests of hosted code, and nothing of the rest.
add_custom_target(hosted_tests)

# ckpt_unit_test(NAME [SOURCES f...] [LIBS target...] [WRAP symbol...] [TIMEOUT s])
# One cmocka program, from test_NAME.c unless SOURCES says otherwise.  It is linked with ckpt_hosted,
# the archive of everything that cpr is made of: only members that are referred to come in, so a
# test may define the functions beside those under test itself.  LIBS are linked in addition.
function(ckpt_unit_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;LIBS;WRAP" ${ARGN})
  if(NOT T_SOURCES)
    set(T_SOURCES test_${name}.c)
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 30)
  endif()
  add_executable(unit.${name} ${T_SOURCES})
  target_link_libraries(unit.${name} PRIVATE ckpt_flags ${T_LIBS} ckpt_hosted cmocka)
  foreach(symbol IN LISTS T_WRAP)
    target_link_options(unit.${name} PRIVATE -Wl,--wrap=${symbol})
  endforeach()
  add_dependencies(hosted_tests unit.${name})
  add_test(NAME unit.${name} COMMAND unit.${name})
  ckpt_test_properties(unit.${name} TIMEOUT ${T_TIMEOUT})
endfunction()

# ckpt_lint(NAME command...)
function(ckpt_lint name)
  add_test(NAME lint.${name} COMMAND ${ARGN} COMMAND_EXPAND_LISTS
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  ckpt_test_properties(lint.${name} TIMEOUT 300)
endfunction()
