# SPDX-License-Identifier: BSD-3-Clause
# ckpt_flat_image(NAME SCRIPT LIBRARY...): links object libraries to a flat image, as NAME.ld says, and
# adds an object library ckpt_NAME_blob that holds it between ckpti_NAME_blob and ckpti_NAME_blob_end.
function(ckpt_flat_image name script)
  set(elf ${CMAKE_CURRENT_BINARY_DIR}/${name}.elf)
  set(bin ${CMAKE_CURRENT_BINARY_DIR}/${name}.bin)
  set(objects "")
  foreach(lib IN LISTS ARGN)
    list(APPEND objects $<TARGET_OBJECTS:${lib}>)
  endforeach()
  add_custom_command(OUTPUT ${bin}
    COMMAND ${CMAKE_LINKER} -nostdlib -static --build-id=none -z noexecstack
            -T ${script} -o ${elf} ${objects}
    COMMAND ${CMAKE_OBJCOPY} -O binary ${elf} ${bin}
    DEPENDS ${ARGN} ${objects} ${script}
    COMMAND_EXPAND_LISTS VERBATIM)
  # A source of its own for each: properties belong to files.
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}_blob.S)
  file(CONFIGURE OUTPUT ${source} CONTENT [[
/* The flat image as bytes of the program that plants it. */
	.section .rodata
	.balign 16
	.globl ckpti_@name@_blob
	.hidden ckpti_@name@_blob
ckpti_@name@_blob:
	.incbin "@bin@"
	.globl ckpti_@name@_blob_end
	.hidden ckpti_@name@_blob_end
ckpti_@name@_blob_end:
	.section .note.GNU-stack, "", @progbits
]] @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${bin})
  add_library(ckpt_${name}_blob OBJECT ${source})
endfunction()
