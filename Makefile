# SPDX-License-Identifier: GPL-2.0
# The commands of vdpa-persist; each is a script in harness/.

BASE ?= linux-6.1.y
FLAVOUR ?= fast
KERNEL_BASE ?= linux-6.1.y
STARTED := $(shell date +%s)
export BASE KERNEL_BASE BASE_TREE ACCEL INSTALL STARTED N SEED MINUTES REPLAY

# What a command needs comes before it, and each step uses all processors by itself
.NOTPARALLEL:
.PHONY: help demo test selftests expected mutation matrix test-clients tree kernel vm series refresh bench latency results fuzz soak qemu migrate migrate-releases guest-kernel clean
help:
	@echo 'make demo       mappings that survive a reset, beside the unpatched behaviour'
	@echo 'make test       everything that must hold; ends with "N passed, N failed"'
	@echo '                (ONLY="mutants boot": the checks with one of these words in their name;'
	@echo '                UNTIL=75: the minute after which no planted bug is tried)'
	@echo 'make selftests  the selftests (T=vduse: one program; TEST=part: the tests with this in their name; FLAVOUR=debug)'
	@echo 'make expected   take what the selftests did last as what is expected of them'
	@echo 'make mutation   the share of random bugs that the selftests find (N=20 SEED=1 FRESH=y)'
	@echo 'make fuzz       a fuzzer with a model against vhost-vdpa (MINUTES=10, or REPLAY=file, MUTANTS=listed; FLAVOUR=uml: faster without KVM)'
	@echo 'make soak       the same life of a device again and again: does anything grow? (ROUNDS=1000, HOURS=2, FLAVOUR=debug)'
	@echo 'make matrix     who can follow whom, for each parent (ROUNDS=2), in out/'
	@echo 'make test-clients  programs that know nothing of us, in a virtual machine'
	@echo 'make tree       the git tree of the base kernel with the series applied'
	@echo 'make kernel     build its kernel (FLAVOUR=fast or debug)'
	@echo 'make vm         a shell in a virtual machine with this kernel, or CMD="..."'
	@echo 'make qemu       QEMU with its series, and without, in build/qemu'
	@echo 'make migrate    what QEMU tells a device as its guest comes and goes'
	@echo 'make migrate-releases  the same of Debian'\''s releases of QEMU, on both kernels'
	@echo 'make series     the series as mbox files for git am and b4, in out/'
	@echo 'make refresh    take commits made in the tree back into patches/'
	@echo 'make bench      the measurements, as tables and plots'
	@echo 'make latency    how long others wait for the CPU meanwhile'
	@echo 'make results    all of these figures, as a page in results/ (AGAIN="bench demo" to measure)'
	@echo 'make clean      remove build/ and out/'
	@echo 'With BASE=$(BASE) (see patches/), or BASE_TREE=/path/to/a/kernel/git/tree.'
	@echo 'ACCEL=kvm: virtual machines run under KVM, where it works, and not under TCG.'
	@echo 'What is missing of Debian'\''s packages is installed; INSTALL=no only says what it is.'

demo: need-tree-kernel-vm-selftests-plots kernel
	@harness/demo.sh

bench: need-tree-kernel-vm-selftests-plots-profile kernel
	@harness/bench.sh
	@harness/bench-mlx5.sh
	@harness/profile.sh

latency: need-tree-kernel-vm-selftests kernel
	@harness/latency.sh

# QEMU is checked with the kernel that it uses, and by itself
QEMU_TOO := $(filter qemu,$(BASE) $(shell sed -n 's/^consumer=//p' patches/$(BASE)/base 2>/dev/null))
test: need-tree-kernel-vm-selftests-checks-clients$(if $(QEMU_TOO),-source-qemu-migrate) \
      $(if $(filter qemu,$(BASE)),guest-kernel)
	@harness/test.sh $(ONLY)

selftests: need-tree-kernel-vm-selftests kernel
	@harness/selftests.sh --flavour $(FLAVOUR) $(if $(TEST),--test '$(TEST)') $(T)

mutation: need-tree-kernel-vm-selftests-profile kernel
	@harness/kernel.sh mutation
	@harness/mutation.sh

fuzz: need-tree-kernel-vm-selftests-fuzz tree
	@harness/fuzz.sh

soak: need-tree-kernel-vm-selftests kernel
	@harness/soak.sh

matrix: need-tree-kernel-vm-selftests kernel
	@harness/matrix.sh

test-clients: need-tree-kernel-vm-selftests-clients kernel
	@harness/clients.sh

results:
	@harness/results.sh $(AGAIN)

tree refresh series expected:
	@harness/$@.sh

kernel: tree
	@harness/kernel.sh $(FLAVOUR)

# Of QEMU's guests
guest-kernel: need-tree-kernel
	@env -u BASE_TREE BASE=$(KERNEL_BASE) harness/tree.sh
	@env -u BASE_TREE BASE=$(KERNEL_BASE) harness/kernel.sh fast

vm: need-tree-kernel-vm kernel
	@harness/vm.sh --flavour $(FLAVOUR) -- $(if $(CMD),'$(subst ','\'',$(value CMD))')

# At once, and before anything else
need-%:
	@harness/need.sh $(subst -, ,$*)

qemu: need-tree-source-qemu
	@patches/qemu/build.sh

migrate: need-tree-kernel-vm-source-qemu-migrate guest-kernel qemu
	@patches/qemu/migrate.sh

migrate-releases: need-tree-kernel-vm-migrate guest-kernel
	@patches/qemu/releases.sh

clean:
	rm -rf build out
