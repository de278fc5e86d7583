# SPDX-License-Identifier: BSD-3-Clause
# Two INTERFACE targets carry all flags; nothing touches CMAKE_C_FLAGS.
#   ckpt_flags         hosted code: libc, sanitizers and coverage when asked for
#   ckpt_freestanding  code that runs in a signal handler or in an emptied address space: no libc,
#                      no thread-local storage, and no instrumentation may ever reach it

set(ckpt_warnings
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
  -Wpointer-arith -Wundef -Wwrite-strings -Wswitch-enum)
set(ckpt_include_dirs
  ${PROJECT_SOURCE_DIR}/posix_ckpt/src ${PROJECT_SOURCE_DIR}/posix_ckpt/include)

add_library(ckpt_flags INTERFACE)
target_compile_options(ckpt_flags INTERFACE
  -std=gnu11 ${ckpt_warnings} -fno-common -fstack-protector-strong
  # Thread-local variables are there from the start of a thread: the general model would allocate them
  # at their first use, which may be in a signal handler, and would need ld.so by name.
  -ftls-model=initial-exec)
target_compile_definitions(ckpt_flags INTERFACE
  _GNU_SOURCE
  CKPT_VERSION="${PROJECT_VERSION}"
  CKPT_LIBDIR="${CMAKE_INSTALL_FULL_LIBDIR}")
target_include_directories(ckpt_flags INTERFACE ${ckpt_include_dirs})
target_link_options(ckpt_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
if(CKPT_SANITIZE)
  target_compile_options(ckpt_flags INTERFACE
    -fsanitize=${CKPT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(ckpt_flags INTERFACE -fsanitize=${CKPT_SANITIZE})
endif()
if(CKPT_COVERAGE)
  target_compile_options(ckpt_flags INTERFACE --coverage -O0)
  target_link_options(ckpt_flags INTERFACE --coverage)
endif()
if(CKPT_FUZZ)
  target_compile_options(ckpt_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

add_library(ckpt_freestanding INTERFACE)
target_compile_options(ckpt_freestanding INTERFACE
  -std=gnu11 ${ckpt_warnings} -fno-common
  -O2 -ffreestanding -fno-builtin -fno-stack-protector -fPIC -mgeneral-regs-only
  -fcf-protection=none -fno-asynchronous-unwind-tables
  -include ${PROJECT_SOURCE_DIR}/posix_ckpt/src/agent/hidden.h
  # What CFLAGS of the environment may bring in, switched off again.
  -fno-sanitize=all -fno-profile-arcs -fno-test-coverage -fno-lto -U_FORTIFY_SOURCE
  # Else gcc turns the loop of a private memset() into a call of memset().
  $<$<C_COMPILER_ID:GNU>:-fno-tree-loop-distribute-patterns>)
target_compile_definitions(ckpt_freestanding INTERFACE _GNU_SOURCE)
target_include_directories(ckpt_freestanding INTERFACE ${ckpt_include_dirs})
