# What both beds share. Sourced by tests/bed/run, which sets the options as shell variables.
# shellcheck shell=bash disable=SC2154

project=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$project/target}
beds=$target/bed

say() { printf 'bed: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }

# Prints what of the named programs is missing, as one line for the user.
need() {
    local missing=() program
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} = 0 ] || die "missing: ${missing[*]} (tests/setup installs what is needed)"
}

# A directory of this bed's own, with a lock that tells the living from the dead; those of beds
# that were killed before they could clean up are removed here.
bed_directory() {
    local old
    mkdir -p "$beds"
    for old in "$beds"/run.*; do
        [ -e "$old/lock" ] || continue
        if flock --nonblock "$old/lock" true; then remove_bed "$old"; fi
    done
    dir=$(mktemp --directory "$beds/run.XXXXXX")
    chmod 755 "$dir"
    exec {lock}>"$dir/lock"
    flock "$lock"
    mkdir "$dir/install" "$dir/state"
    chmod 700 "$dir/state"
}

# Removes what a bed leaves: its cgroup, once the last process is gone, and its directory.
remove_bed() {
    local cgroup tries=0
    if cgroup=$(cat "$1/cgroup" 2>/dev/null) && [ -d "$cgroup" ]; then
        echo 1 >"$cgroup/cgroup.kill" 2>/dev/null || true
        while grep -q '^populated 1' "$cgroup/cgroup.events" && [ $((tries++)) -lt 500 ]; do sleep 0.01; done
        find "$cgroup" -depth -type d -exec rmdir {} +
    fi
    rm -rf --one-file-system "$1"
}

# What the bed tests is what `make install` installs, only built faster unless it is measured
# (profile `quick`).
install_project() {
    need make cargo
    flock "$beds/install.lock" make --no-print-directory --silent -C "$project" install \
        DESTDIR="$dir/install" PREFIX=/usr PROFILE="$profile" >"$dir/install.log" 2>&1 {lock}>&- || {
        cat "$dir/install.log" >&2
        die "make install failed"
    }
    # Most tests are about other things than signatures; those that are bring rules of their own.
    mkdir -p "$dir/install/usr/lib/rocket/trust.d"
    printf 'version = 1\n[root]\nunsigned = "warn"\n' >"$dir/install/usr/lib/rocket/trust.d/50-bed.toml"
}

# The command as a script that both beds run: same directory, same variables, shell-like status.
write_command() {
    local name
    {
        echo '#!/bin/bash'
        printf 'export PATH=%q\n' "$PATH:/usr/sbin:/sbin"
        printf 'export HOME=/root ROCKET_BED=%q ROCKET_BED_TARGET=%q\n' "$bed" "$target"
        for name in $(compgen -e); do
            case $name in
            ROCKET_BED*) ;;
            ROCKET_* | RUST_* | RUSTUP_* | NEXTEST_* | CARGO_TERM_* | LANG | LC_* | TERM | NO_COLOR)
                printf 'export %s=%q\n' "$name" "${!name}" ;;
            esac
        done
        printf 'cd %q || exit 125\n' "$PWD"
        printf '%q ' "$@"
        # shellcheck disable=SC2016  # for the shell in the bed
        printf '\ncode=$?\necho $code >%q\nexit $code\n' "$dir/status"
    } >"$dir/command"
}

keep_journal() {
    local name
    name=$beds/journal-$bed-$(date +%H%M%S)-$$.log
    if bed_journal >"$name" 2>&1; then
        say "the command ended with status $1; the bed's journal: ${name#"$project"/}"
    fi
}
