# What makes a Debian root into the machine of a bed. Sourced inside both beds, before systemd starts.
# shellcheck shell=bash

# What would only cost time, or in the ns bed reach the kernel it shares with the host.
masked=(
    systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket
    systemd-udev-trigger.service systemd-sysctl.service systemd-modules-load.service
    systemd-binfmt.service proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount
    systemd-random-seed.service systemd-pstore.service systemd-hwdb-update.service
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
    sys-fs-fuse-connections.mount dev-hugepages.mount kmod-static-nodes.service modprobe@.service
    systemd-journal-catalog-update.service systemd-update-done.service systemd-sysusers.service
    systemd-firstboot.service systemd-machine-id-commit.service ldconfig.service
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service
    systemd-resolved.service systemd-timesyncd.service console-getty.service getty.target
    systemd-remount-fs.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
)

# make_machine ROOT: an identity of its own, and nothing enabled but what systemd itself wants.
make_machine() {
    local root=${1%/} unit generator
    tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
    echo bed >"$root/etc/hostname"
    : >"$root/etc/fstab"
    rm -rf "$root"/etc/systemd/system "$root"/etc/systemd/system.control "$root"/var/log/journal
    mkdir -p "$root"/etc/systemd/{system,system-generators} "$root"/var/log/journal
    for unit in "${masked[@]}"; do ln -s /dev/null "$root/etc/systemd/system/$unit"; done
    for generator in "$root"/{,usr/local/}lib/systemd/system-generators/*; do
        case ${generator##*/} in rocket-generator | \*) continue ;; esac
        ln -sf /dev/null "$root/etc/systemd/system-generators/${generator##*/}"
    done
}
