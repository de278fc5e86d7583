# SPDX-License-Identifier: BSD-3-Clause
# Products of matrices of whole numbers, and R's own random numbers.
set.seed(as.integer(readLines("seed")))
prime <- 1048573
base <- matrix(floor(runif(200 * 200) * prime), 200)
power <- base
progress <- file("progress", "w")
for (step in 1:40) {
	power <- (power %*% base) %% prime
	power[1, 1] <- floor(runif(1) * prime)
	cat(step, power[1, 1], power[2, 1], "\n", file = progress)
	flush(progress)
	Sys.sleep(0.1)
}
cat(sprintf("%.0f", sum(power)), "\n", file = "result")
