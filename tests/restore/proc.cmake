# SPDX-License-Identifier: BSD-3-Clause
# Processes: trees, sessions and groups, ended ones, attributes; what a caller of cpr -r sees.
ckpt_restore_test(proc_tree VARIANTS kill cont twice reboot user bare fresh)
ckpt_restore_test(proc_zombie VARIANTS kill cont twice reboot user bare fresh)
# Its orphans are found by what cpr run put into their environment.
ckpt_restore_test(proc_group VARIANTS kill cont twice reboot user)
ckpt_restore_test(proc_subreaper PROGRAM proc_group ARGS subreaper VARIANTS kill twice reboot)
ckpt_restore_test(proc_attr ARGS "first argument" "second argument")
ckpt_restore_test(attr)
ckpt_restore_test(attr_mdwe PROGRAM attr ARGS mdwe VARIANTS kill twice user)

# ckpt_restart_case(NAME [LABELS l...]): see the file `cases`
function(ckpt_restart_case name)
  add_test(NAME restore.case.${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cases ${name}
    $<TARGET_FILE:restore.proc_life>)
  ckpt_test_properties(restore.case.${name} TIMEOUT 60 ${ARGN})
  set_property(TEST restore.case.${name} PROPERTY ENVIRONMENT "CPR=$<TARGET_FILE:cpr>")
endfunction()

add_executable(restore.proc_life proc_life.c t.c)
target_link_libraries(restore.proc_life PRIVATE ckpt_flags)
foreach(name exit_status death signals interrupt_key generations clone kill ids_private ids_new)
  ckpt_restart_case(${name})
  ckpt_restart_case(${name}.user LABELS user)
endforeach()
foreach(name ids_host no_sys_resource)
  ckpt_restart_case(${name})
endforeach()
foreach(name userns_forbidden ambient_right)
  ckpt_restart_case(${name} LABELS user)
endforeach()

add_executable(restore.restart_killed restart_killed.c)
target_link_libraries(restore.restart_killed PRIVATE ckpt_flags)
foreach(who root user)
  set(test restore.restart_killed.${who})
  add_test(NAME ${test} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/restart_killed ${who}
    $<TARGET_FILE:restore.restart_killed>)
  ckpt_test_properties(${test} TIMEOUT 60)
  set_property(TEST ${test} PROPERTY ENVIRONMENT "CPR=$<TARGET_FILE:cpr>")
endforeach()
set_property(TEST restore.restart_killed.user APPEND PROPERTY LABELS user)

# Processors of one launch and of the next.
add_test(NAME restore.cpus COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cpus)
ckpt_test_properties(restore.cpus TIMEOUT 60)
set_property(TEST restore.cpus PROPERTY ENVIRONMENT "CPR=$<TARGET_FILE:cpr>")

# The environment of one launch and of the next.
add_test(NAME restore.launch COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/launch)
ckpt_test_properties(restore.launch TIMEOUT 60)
set_property(TEST restore.launch PROPERTY ENVIRONMENT "CPR=$<TARGET_FILE:cpr>")
