# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# Sourced by the lints that read libckpt.map.

# map_symbols MAP: the names under global: of every version node, sorted
map_symbols() {
	sed -e 's:/\*[^*]*\*/::g' -e 's/#.*//' "$1" | tr ';{}' '[\n*]' |
		awk '/global:/ { sub(/.*global:/, ""); on = 1 }
		     /local:/ { on = 0 }
		     on && NF { print $1 }
		     !NF { next }' | sort -u
}
