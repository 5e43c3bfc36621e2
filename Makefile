# GNU make and a POSIX shell. `make` alone lists the targets.
#
# The environment .venv is made once, and made anew when the pins, PYTHON or ACCELERATOR change. The
# last two are remembered in it, so they need to be said only once.
-include .venv/choices.mk

# Read before PYTHON gets its default: did the user (or an earlier `make venv`) name one?
PYTHON_NAMED := $(PYTHON)
PYTHON ?= python3
ACCELERATOR ?= cpu
ARGS ?=
THEME =
DASK =
# Tests compile most of the time, each program on one core: a process a core halves the wait.
WORKERS ?= -n logical --maxprocesses=4 --dist=worksteal

RUN := .venv/bin/python
# Both sanitizers on the narrowest vectors, and one at a time on wider ones: together they would
# compile for five minutes there.
SANITIZERS := -O1 -g1 -std=c++17 -ffp-contract=fast -Wall -Wextra -Werror -pthread \
  -fno-sanitize-recover=all
AVX2 = $(if $(shell grep -sowm1 avx2 /proc/cpuinfo),'-fsanitize=undefined -mavx2 -mfma')
PINS := $(shell cat requirements.txt constraints.txt | cksum | cut -d' ' -f1)
READY := .venv/ready-$(PINS)-$(ACCELERATOR)-$(subst /,_,$(PYTHON_NAMED))

# A file in a theme's folder is an experiment; its targets take dashes or underscores. Files that
# begin with an underscore help the experiments beside them.
EXPERIMENTS := $(filter-out _%,$(basename $(notdir $(wildcard experiments/*/*.py))))
NAMES := $(sort $(EXPERIMENTS) $(subst _,-,$(EXPERIMENTS)))

.DEFAULT_GOAL := help
# Targets given together run one after the other: each uses every core.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help venv list exps nets gallery test test-all lint pins sanitize sanitize-arm bench
.PHONY: bench-all clean
.PHONY: $(addprefix exp-,$(NAMES)) $(addprefix plot-,$(NAMES))

help: ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo '  make exps THEME=depth            runs the experiments of one theme'
	@echo '  make exps DASK=1                 several at a time (docs/many_hosts.md)'
	@echo '  make exp-NAME ARGS="--seeds=10"  hands flags on; "--help" lists them'
	@echo '  make ... ACCELERATOR=cuda13      for the GPU (cuda12, cuda13) or TPU (tpu)'
	@echo '  make ... PYTHON=python3.12       for another Python, 3.11 to 3.13'

venv: $(READY) ## make the environment .venv (the other targets do so by themselves)
	@:

list: ## the experiments, their claims and their minutes
	@$(FIND_PYTHON); "$$python" -m experiments.catalog list

# The experiments' own rules stand below; these two answer for every other name.
exp-%: ## run an experiment, as in make exp-he-init
	$(error There is no experiment '$*'; 'make list' shows them all)
plot-%: ## draw its figure again from its record, without training
	$(error There is no experiment '$*'; 'make list' shows them all)

$(addprefix exp-,$(NAMES)): exp-%: $(READY)
	@$(RUN) -m experiments $(subst -,_,$*) --preset=cpu $(ARGS)

$(addprefix plot-,$(NAMES)): plot-%: $(READY)
	@$(RUN) -m experiments $(subst -,_,$*) --plot_only $(ARGS)

exps: $(READY) ## run them all, in the order of the list, or those of one THEME
ifdef DASK
	@$(RUN) -m experiments exps $(if $(THEME),--theme='$(THEME)') $(filter-out 1,$(DASK)) -- \
	  --preset=cpu $(ARGS)
else
	@# 130 is Ctrl-C and 75 SIGTERM: they end the whole series.
	@names=$$($(RUN) -m experiments.catalog names $(if $(THEME),'$(THEME)')) || exit; \
	failed=; for name in $$names; do \
	  $(RUN) -m experiments "$$name" --preset=cpu $(ARGS) || \
	    case $$? in 130) exit 130;; 75) exit 75;; *) failed="$$failed $$name";; esac; \
	done; \
	test -z "$$failed" || { echo "These did not end well:$$failed" >&2; exit 1; }
endif

nets: $(READY) ## train the nets that experiments share (they do so themselves where need be)
	@$(RUN) -m experiments.catalog nets

gallery: $(READY) ## write the pages of all records: experiments/index.html and README.md
	@$(RUN) -m experiments.catalog gallery $(ARGS)

test: $(READY) ## run the test suite
	@$(RUN) -m pytest -q $(WORKERS) $(ARGS)

test-all: $(READY) ## run the slow tests too
	@$(RUN) -m pytest -q $(WORKERS) -m '' $(ARGS)

lint: $(READY) ## check style and formatting
	@$(RUN) -m ruff check --quiet . && $(RUN) -m ruff format --check --quiet .

OPENING := constraint-dependencies = \[
pins: ## take the pins over into pyproject.toml, where uv reads them
	@{ \
	  sed '/^$(OPENING)/q' pyproject.toml; \
	  grep -hv -e '^[#-]' -e '^$$' requirements.txt constraints.txt | sed "s/.*/  '&',/"; \
	  sed '1,/^$(OPENING)/d' pyproject.toml | sed -n '/^]/,$$p'; \
	} >pyproject.toml.tmp && mv pyproject.toml.tmp pyproject.toml

sanitize: ## run the native kernels under the address and undefined-behaviour sanitizers
	@mkdir -p .cache
	@for options in '-fsanitize=address,undefined' $(AVX2) \
	    '-fsanitize=address -march=native' '-fsanitize=undefined -march=native'; do \
	  $(CXX) $(SANITIZERS) $$options tests/native/kernels.cc -o .cache/kernels && \
	  .cache/kernels || exit; \
	done

sanitize-arm: ## run them as on ARM, emulated (needs g++-aarch64-linux-gnu and qemu-user)
	@mkdir -p .cache
	@aarch64-linux-gnu-g++ $(SANITIZERS) -fsanitize=undefined -fno-sanitize=vptr -static \
	  tests/native/kernels.cc -o .cache/kernels-arm
	@$(or $(shell command -v qemu-aarch64 || command -v qemu-aarch64-static),qemu-aarch64) \
	  .cache/kernels-arm

bench: .venv/torch/ready ## measure against PyTorch and plain Flax, 6 minutes (installs PyTorch)
	@$(RUN) -m benchmarks.run --torch_python=.venv/torch/bin/python $(ARGS)

bench-all: bench ## measure sweeps, the phase diagram, ResNet-56, DCGAN and maps too
	@$(RUN) -m benchmarks.sweep --torch_python=.venv/torch/bin/python
	@$(RUN) -m benchmarks.phase --torch_python=.venv/torch/bin/python
	@$(RUN) -m benchmarks.resnet --torch_python=.venv/torch/bin/python
	@$(RUN) -m benchmarks.regular --torch_python=.venv/torch/bin/python
	@$(RUN) -m benchmarks.gan --torch_python=.venv/torch/bin/python
	@$(RUN) -m benchmarks.attribution --torch_python=.venv/torch/bin/python

data-%: $(READY) ## prepare a TensorFlow Datasets set, as in make data-cifar10
	@$(RUN) -m jaxvision.data.prepare $* $(ARGS)

clean: ## remove .venv, caches and build files; results stay
	@rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis build dist ./*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an installation that was cut short is never taken for a whole one.
$(READY):
	@case "$(ACCELERATOR)" in cpu|cuda12|cuda13|tpu) ;; *) \
	  echo "ACCELERATOR is cpu, cuda12, cuda13 or tpu, not '$(ACCELERATOR)'." >&2; exit 2;; esac
	@$(FIND_PYTHON); \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$$python cannot make environments: install its venv and pip" \
	    "(Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }; \
	echo "Making .venv with $$("$$python" -V 2>&1) for $(ACCELERATOR): a few minutes, once." >&2; \
	"$$python" -m venv --clear .venv && \
	$(RUN) -m pip install -qq --disable-pip-version-check \
	  -r requirements.txt $(if $(filter-out cpu,$(ACCELERATOR)),'jax[$(ACCELERATOR)]') || { \
	  echo 'The installation failed, see above. Mend it and run make again.' >&2; exit 1; }
	@# Experiments' files can then be run as they are, and from any directory.
	@printf '%s\n' "$$PWD" >"$$($(RUN) -c \
	  'import sysconfig; print(sysconfig.get_path("purelib"))')/jaxvision.pth"
	@{ echo 'ACCELERATOR ?= $(ACCELERATOR)'; \
	  $(if $(PYTHON_NAMED),echo 'PYTHON ?= $(PYTHON)';) } >.venv/choices.mk
	@touch $@

# PyTorch gets an environment of its own: its pins must not meet ours.
.venv/torch/ready: $(READY) benchmarks/requirements-torch.txt
	@echo 'Installing what the benchmarks compare with.' >&2
	@$(RUN) -m venv --clear .venv/torch
	@.venv/torch/bin/python -m pip install -qq --disable-pip-version-check \
	  -r benchmarks/requirements-torch.txt
	@touch $@

# Sets $python to the first interpreter that really runs (a version manager's shim may not) and is
# new enough. One that the user named is the only candidate.
CANDIDATES := $(or $(PYTHON_NAMED),$(PYTHON) python3.13 python3.12 python3.11)
NO_PYTHON := $(if $(PYTHON_NAMED),$(PYTHON_NAMED) is no,There is no) Python 3.11 to 3.13 here; \
  name one as in: make venv PYTHON=/path/to/python3.12
define FIND_PYTHON
python=; for candidate in $(CANDIDATES); do \
  "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
    >/dev/null 2>&1 && { python=$$candidate; break; }; \
done; \
test -n "$$python" || { echo "$(NO_PYTHON)" >&2; exit 1; }
endef
