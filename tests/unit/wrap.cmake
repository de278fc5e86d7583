# SPDX-License-Identifier: BSD-3-Clause
# src/wrap and src/load with a stand-in for the agent.  Not under TSan: it holds signals back.
if(TARGET ckpt_wrap AND TARGET ckpt_load AND NOT CKPT_SANITIZE MATCHES "thread")
  ckpt_unit_test(wrap SOURCES test_wrap.c wrap_fake.c LIBS ckpt_wrap ckpt_load TIMEOUT 180)
  ckpt_unit_test(wrap_time SOURCES test_wrap_time.c wrap_fake.c LIBS ckpt_wrap ckpt_load TIMEOUT 180)
endif()
