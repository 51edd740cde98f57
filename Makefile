# SPDX-License-Identifier: GPL-2.0
# The commands of vdpa-persist; each is a script in harness/.

BASE ?= linux-6.1.y
FLAVOUR ?= fast
export BASE BASE_TREE ACCEL

.PHONY: help demo test matrix test-clients tree kernel vm series refresh bench latency clean
help:
	@echo 'make demo       mappings that survive a reset, beside the unpatched behaviour'
	@echo 'make test       everything that must hold; ends with "N passed, N failed"'
	@echo 'make matrix     who can follow whom, for each parent (ROUNDS=2), in out/'
	@echo 'make test-clients  programs that know nothing of us, in a virtual machine'
	@echo 'make tree       the git tree of the base kernel with the series applied'
	@echo 'make kernel     build its kernel (FLAVOUR=fast or debug)'
	@echo 'make vm         a shell in a virtual machine with this kernel, or CMD="..."'
	@echo 'make series     the series as mbox files for git am and b4, in out/'
	@echo 'make refresh    take commits made in the tree back into patches/'
	@echo 'make bench      the measurements, as tables and plots'
	@echo 'make latency    how long others wait for the CPU meanwhile'
	@echo 'make clean      remove build/ and out/'
	@echo 'With BASE=$(BASE) (see patches/), or BASE_TREE=/path/to/a/kernel/git/tree.'

demo: kernel
	@harness/demo.sh

bench: kernel
	@harness/bench.sh
	@harness/bench-mlx5.sh
	@harness/profile.sh

latency: kernel
	@harness/latency.sh

test series:
	@harness/$@.sh

matrix: kernel
	@harness/matrix.sh

test-clients: kernel
	@harness/clients.sh

tree refresh:
	@harness/$@.sh

kernel: tree
	@harness/kernel.sh $(FLAVOUR)

vm: kernel
	@harness/vm.sh --flavour $(FLAVOUR) -- $(if $(CMD),'$(subst ','\'',$(value CMD))')

clean:
	rm -rf build out
