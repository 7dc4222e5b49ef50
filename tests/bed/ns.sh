# The namespace bed: systemd as PID 1 of new namespaces. Sourced by tests/bed/run.
# shellcheck shell=bash disable=SC2154

bed_check() {
    [ "$(id -u)" = 0 ] || die "the ns bed needs root"
    need unshare nsenter setpriv ip flock ps
    [ -x "$root/lib/systemd/systemd" ] || die "no systemd in $root"
    [ -x "$root/usr/bin/dbus-daemon" ] || die "no dbus in $root"
    # Where systemd runs the host, it is asked for a delegated scope, and so for the controllers.
    if [ -d /run/systemd/system ] && [ -z "${ROCKET_BED_SCOPE:-}" ]; then
        ROCKET_BED_SCOPE=1 exec systemd-run --quiet --scope --property=Delegate=yes -- "$@"
    fi
}

# Makes the bed's cgroup and prints its path. Two kinds of host: pure v2, and v1 with an empty
# cgroup2 beside it. In a scope of its own the launcher moves aside, so that the controllers can
# be handed to the bed.
make_cgroup() {
    local mount=/sys/fs/cgroup own controllers
    [ -e $mount/cgroup.controllers ] || mount=/sys/fs/cgroup/unified
    [ -e $mount/cgroup.procs ] || die "no cgroup2 at /sys/fs/cgroup or /sys/fs/cgroup/unified"
    own=$mount$(sed -n 's/^0:://p' /proc/self/cgroup)
    own=${own%/}
    if [ -n "${ROCKET_BED_SCOPE:-}" ]; then
        mkdir "$own/launcher"
        echo $$ >"$own/launcher/cgroup.procs"
        read -r controllers <"$own/cgroup.controllers"
        [ -z "$controllers" ] || echo "+${controllers// / +}" >"$own/cgroup.subtree_control"
    fi
    mkdir "$own/rocket-bed-${dir##*.}"
    echo "$own/rocket-bed-${dir##*.}" >"$dir/cgroup"
}

bed_boot() {
    local cgroup tries=0
    make_cgroup
    cgroup=$(cat "$dir/cgroup")
    # Every link of the chain dies with the one before it: launcher, unshare, PID 1, the bed.
    (
        echo "$BASHPID" >"$cgroup/cgroup.procs"
        exec {lock}>&- </dev/null >"$dir/boot.log" 2>&1
        exec setpriv --pdeathsig KILL \
            unshare --mount --pid --fork --cgroup --ipc --uts --net --kill-child \
            "$here/ns-init" "$root" "$dir" "$project" "$target" "$state" "${binds[@]}"
    ) &
    launcher=$!
    # Until PID 1 has become systemd it may still see the host's root, and the host's bus in it.
    until [ "$(cat "/proc/${pid1:-none}/comm" 2>/dev/null)" = systemd ] &&
        [ -S "/proc/$pid1/root/run/dbus/system_bus_socket" ]; do
        kill -0 $launcher 2>/dev/null || { cat "$dir/boot.log" >&2; die "the bed did not boot"; }
        [ $((tries++)) -lt 3000 ] || { cat "$dir/boot.log" >&2; die "no D-Bus in the bed after 30 s"; }
        pid1=$(ps -o pid= --ppid "$launcher" | tr -d ' ') || pid1=
        sleep 0.01
    done
    in_bed systemctl is-system-running --wait >"$dir/boot" 2>&1 ||
        say "the bed is $(cat "$dir/boot"): $(in_bed systemctl --failed --plain --no-legend)"
}

in_bed() { nsenter --target "$pid1" --all -- "$@" {lock}>&-; }

bed_command() {
    local tty=--pipe
    [ ! -t 0 ] || [ ! -t 1 ] || tty=--pty
    rm -f "$dir/status"
    in_bed systemd-run --quiet --wait --collect $tty --unit=bed-command /bin/bash "$dir/command" || true
    # systemd-run loses sight of the command, and ends well, when a test restarts dbus-daemon.
    # And while systemd executes itself anew it does not answer: only a clear "over" is one.
    while [ ! -e "$dir/status" ] && [ -e "/proc/$pid1" ]; do
        case $(in_bed systemctl show --value --property=ActiveState bed-command 2>&1) in
        inactive | failed) break ;;
        esac
        sleep 0.5
    done
    return "$(cat "$dir/status" 2>/dev/null || echo 125)"
}

bed_journal() { in_bed journalctl --boot --output=short-precise --no-pager --all; }

bed_end() {
    [ -z "${launcher:-}" ] || { kill -KILL "$launcher" && wait "$launcher"; } 2>/dev/null || true
    remove_bed "$dir"
}
