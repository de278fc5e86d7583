# SPDX-License-Identifier: BSD-3-Clause
# Rules between a program and its checkpoints: plug-ins, interrupted calls, signals, holds, handlers.
add_library(proto_plugin SHARED proto_plugin_lib.c)
target_link_libraries(proto_plugin PRIVATE ckpt_flags ckpt)
ckpt_restore_test(proto_plugin LIBS proto_plugin VARIANTS kill cont twice reboot)
ckpt_restore_test(proto_eintr VARIANTS kill twice reboot user bare)
ckpt_restore_test(proto_eintr_sysv PROGRAM proto_eintr ARGS sysv VARIANTS cont)

add_executable(restore.proto_prog proto_prog.c t.c)
target_link_libraries(restore.proto_prog PRIVATE ckpt_flags ckpt)
add_executable(restore.proto_static proto_static.c)
target_link_libraries(restore.proto_static PRIVATE ckpt_flags)
target_link_options(restore.proto_static PRIVATE -static)
foreach(name hold second_knock stolen stopped vfork static injected own_use own_use_raw handlers create_self
    call_self signal_meanwhile)
  foreach(who root user)
    set(test restore.protocol.${name}.${who})
    set(case ${name})
    set(labels)
    if(who STREQUAL "user")
      set(case ${name}.user)
      set(labels LABELS user)
    endif()
    add_test(NAME ${test} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/protocol ${case}
      $<TARGET_FILE:restore.proto_prog> $<TARGET_FILE:restore.proto_static>)
    ckpt_test_properties(${test} TIMEOUT 60 ${labels})
    set_property(TEST ${test} PROPERTY ENVIRONMENT "CPR=$<TARGET_FILE:cpr>")
  endforeach()
endforeach()
