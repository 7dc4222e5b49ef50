# rocket: what a person or a packager types. `make` alone lists the targets.

PREFIX  ?= /usr
DESTDIR ?=
PROFILE ?= release
CARGO   ?= cargo

TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
TRIPLE := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
OUT    := $(TARGET)/$(PROFILE)
# init is static: it runs where no libc can be counted on. Its flags get a target directory of
# their own, so that they never make cargo build anything else twice.
STATIC := $(TARGET)/static/$(TRIPLE)/$(PROFILE)

# systemd's own word on where units go; on merged-/usr systems it may still say /lib.
systemd_dir = $(patsubst /lib/%,/usr/lib/%,$(or $(shell pkg-config --variable=$(1) systemd 2>/dev/null),$(2)))
UNITDIR      = $(call systemd_dir,systemdsystemunitdir,$(PREFIX)/lib/systemd/system)
PRESETDIR    = $(call systemd_dir,systemdsystempresetdir,$(PREFIX)/lib/systemd/system-preset)
USERGENERATORDIR = $(call systemd_dir,systemdusergeneratordir,$(PREFIX)/lib/systemd/user-generators)
GENERATORDIR = $(call systemd_dir,systemdsystemgeneratordir,$(PREFIX)/lib/systemd/system-generators)
TMPFILESDIR  = $(call systemd_dir,tmpfilesdir,$(PREFIX)/lib/tmpfiles.d)
STAGE1DIR    = $(PREFIX)/lib/rocket/stage1
TRANSPORTDIR = $(PREFIX)/lib/rocket/transport
SYSUSERSDIR  = $(call systemd_dir,sysusersdir,$(PREFIX)/lib/sysusers.d)
SHARE        = $(PREFIX)/share

# What names its own place elsewhere is told of another PREFIX.
ifneq ($(PREFIX),/usr)
export ROCKET_STAGE1_DIR := $(PREFIX)/lib/rocket/stage1
export ROCKET_TRANSPORT_DIR := $(PREFIX)/lib/rocket/transport
endif

.PHONY: help build install install-units try test test-long bench lint setup

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

try: ## A pod from a real Debian root under a real systemd, in a throw-away bed
	@tests/setup try
	@tests/try

test: ## Lints, unit tests, and the integration tests in the beds
	@tests/setup test
	@tests/all

test-long: ## The same, with the tests that take minutes
	@tests/setup test
	@ROCKET_TEST_LONG=1 tests/all

# QUICK=1 measures less, FIRST=1 before all else on this machine, PARTS='start fetch' only some.
bench: ## rocket beside its peers: medians, ratios, budgets (QUICK=1, PARTS='start fetch')
	@tests/setup bench
	@tests/bench/run $(if $(QUICK),--quick) $(if $(FIRST),--first) $(PARTS)

lint: ## rustfmt, clippy, unsafe only in stage1/sys, cargo-deny, shellcheck
	@tests/setup lint
	@tests/lint

setup: ## Install the Debian packages and cargo tools that the other targets need
	@tests/setup all

build: ## Build what is installed (PROFILE=release)
	$(CARGO) build --locked --profile $(PROFILE) \
	    --package rocket --package rocket-generator --package rocket-transport --package xtask
	$(CARGO) build --locked --profile $(PROFILE) --package rocket-init \
	    --target $(TRIPLE) --target-dir $(TARGET)/static \
	    --config 'target.$(TRIPLE).rustflags=["-Ctarget-feature=+crt-static"]'
	@rm -rf $(OUT)/man $(OUT)/completions
	$(OUT)/xtask man --out $(OUT)/man
	$(OUT)/xtask completions --out $(OUT)/completions

INSTALL_DATA = install -m 644
# $(call install_files,files,directory): nothing where there are no files
install_files = $(if $(1),install -d "$(DESTDIR)$(2)" && $(INSTALL_DATA) $(1) "$(DESTDIR)$(2)/")

install: build install-units ## Install below DESTDIR and PREFIX (/usr)
	install -D -m 755 $(OUT)/rocket "$(DESTDIR)$(PREFIX)/bin/rocket"
	install -D -m 755 $(OUT)/rocket-generator "$(DESTDIR)$(GENERATORDIR)/rocket-generator"
	install -d "$(DESTDIR)$(USERGENERATORDIR)"
	ln -sfn "$(GENERATORDIR)/rocket-generator" "$(DESTDIR)$(USERGENERATORDIR)/rocket-generator"
	install -D -m 755 $(STATIC)/rocket-init "$(DESTDIR)$(STAGE1DIR)/ns/init"
	install -D -m 755 $(OUT)/rocket-transport "$(DESTDIR)$(TRANSPORTDIR)/https"
	ln -sf https "$(DESTDIR)$(TRANSPORTDIR)/http"
	ln -sf https "$(DESTDIR)$(TRANSPORTDIR)/docker"
	$(call install_files,$(wildcard packaging/sysusers.d/*.conf),$(SYSUSERSDIR))
	$(call install_files,$(wildcard stage1/init/stage1.toml),$(STAGE1DIR)/ns)
	$(call install_files,$(wildcard packaging/tmpfiles.d/*.conf),$(TMPFILESDIR))
	$(call install_files,$(wildcard $(OUT)/man/*.1),$(SHARE)/man/man1)
	$(call install_files,$(wildcard packaging/man/*.8),$(SHARE)/man/man8)
	$(call install_files,$(wildcard $(OUT)/completions/rocket.bash),$(SHARE)/bash-completion/completions)
	$(call install_files,$(wildcard $(OUT)/completions/_rocket),$(SHARE)/zsh/vendor-completions)
	$(call install_files,$(wildcard $(OUT)/completions/rocket.fish),$(SHARE)/fish/vendor_completions.d)
	$(call install_files,$(wildcard docs/*.schema.json),$(SHARE)/rocket)
	$(call install_files,$(wildcard README.md LICENSE-* docs/*.md),$(SHARE)/doc/rocket)

# Units name the programs they start where PREFIX put them.
install-units:
	$(call install_files,$(filter-out %.preset,$(wildcard units/*.*)),$(UNITDIR))
	sed -i 's|/usr/bin/rocket |$(PREFIX)/bin/rocket |' \
	    $(foreach unit,$(wildcard units/*.service),"$(DESTDIR)$(UNITDIR)/$(notdir $(unit))")
	$(call install_files,$(wildcard units/*.preset),$(PRESETDIR))
