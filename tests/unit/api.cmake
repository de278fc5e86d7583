# SPDX-License-Identifier: BSD-3-Clause
# src/api with stand-ins for the agent, the wrappers and the program cpr.
if(TARGET ckpt_api)
  ckpt_unit_test(api SOURCES test_api.c api_fake.c image_sample.c LIBS ckpt_api)
  ckpt_unit_test(api_request SOURCES test_api_request.c api_fake.c LIBS ckpt_api)
  ckpt_unit_test(api_service SOURCES test_api_service.c api_fake.c LIBS ckpt_api)
  ckpt_unit_test(torque_pattern SOURCES test_torque_pattern.c api_fake.c LIBS ckpt_api)
endif()
