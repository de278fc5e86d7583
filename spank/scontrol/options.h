/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options that Slurm's scontrol takes before and after its command word: which words are
 * values of options must be known to find the command.  Options of later versions that are not
 * here make the front end hand everything on.
 */
#ifndef CKPT_SCONTROL_OPTIONS_H
#define CKPT_SCONTROL_OPTIONS_H

#define CKPTI_SCONTROL_OPTIONS "adhM:FoQu:vV"

/* 0: of no importance here. */
/* clang-format off */
#define CKPTI_SCONTROL_LONG_OPTIONS                      \
	{"all", no_argument, NULL, 'a'},                 \
	{"cluster", required_argument, NULL, 'M'},       \
	{"clusters", required_argument, NULL, 'M'},      \
	{"details", no_argument, NULL, 'd'},             \
	{"federation", no_argument, NULL, 0},            \
	{"future", no_argument, NULL, 'F'},              \
	{"help", no_argument, NULL, 'h'},                \
	{"hide", no_argument, NULL, 0},                  \
	{"local", no_argument, NULL, 0},                 \
	{"oneliner", no_argument, NULL, 'o'},            \
	{"quiet", no_argument, NULL, 'Q'},               \
	{"sibling", no_argument, NULL, 0},               \
	{"uid", required_argument, NULL, 'u'},           \
	{"usage", no_argument, NULL, 'h'},               \
	{"verbose", no_argument, NULL, 'v'},             \
	{"version", no_argument, NULL, 'V'}
/* clang-format on */

#endif
