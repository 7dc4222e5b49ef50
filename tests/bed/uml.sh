# The user-mode-linux bed: a kernel of its own as an ordinary program, with all cgroup v2
# controllers. Sourced by tests/bed/run.
# shellcheck shell=bash disable=SC2154

bed_check() {
    [ "$root" = / ] || die "--root is for the ns bed"
    [ ${#binds[@]} = 0 ] || die "--bind is for the ns bed"
    need linux.uml mke2fs debugfs setpriv flock apparmor_parser
    [ "$(id -u)" = 0 ] || die "the uml bed needs root, to build its root file system"
}

# The disk image, made once from the root file system; each bed writes to a copy-on-write file.
make_image() {
    local source recipe
    source=$("$here/roots" "$("$here/release")")
    image=$target/bed/uml.ext4
    recipe=$(cat "$source.recipe" "$here/uml-boot")
    (
        flock 9
        [ ! -e "$image" ] || [ "$(cat "$image.recipe" 2>/dev/null)" != "$recipe" ] || exit 0
        rm -f "$image" "$image.recipe"
        truncate -s 4G "$image"
        mke2fs -q -F -t ext4 -d "$source" "$image"
        debugfs -w -f - "$image" >/dev/null 2>&1 <<-END
			cd /usr/sbin
			write $here/uml-boot bed-boot
			set_inode_field bed-boot mode 0100755
		END
        echo "$recipe" >"$image.recipe"
    ) 9>"$image.lock"
}

bed_boot() {
    make_image
    # It loads the profiles of tests, needs nothing but libc, and is of the same release.
    install -D "$(command -v apparmor_parser)" "$dir/install/usr/sbin/apparmor_parser"
    mkfifo "$dir/out" "$dir/err"
    cat "$dir/out" {lock}>&- &
    readers=$!
    cat "$dir/err" >&2 {lock}>&- &
    readers="$readers $!"
    # The memory is a file in TMPDIR; consoles 1 and 2 carry the command's output and errors.
    (
        exec {lock}>&- 3>"$dir/out" 4>"$dir/err" </dev/null >"$dir/boot.log" 2>&1
        TMPDIR=$dir exec setpriv --pdeathsig KILL linux.uml mem=2G "umid=bed-${dir##*.}" \
            "uml_dir=$dir/" "ubda=$dir/cow,$image" root=/dev/ubda rw init=/sbin/bed-boot \
            con=null con0=null,fd:1 con1=null,fd:3 con2=null,fd:4 quiet loglevel=3 \
            "lsm=$lsm" \
            "bed_dir=$dir" "bed_project=$project" "bed_target=$target"
    ) &
    launcher=$!
}

bed_command() {
    # shellcheck disable=SC2086
    wait $launcher $readers || true
    launcher=
    [ -s "$dir/status" ] || { cat "$dir/boot.log" >&2; die "the bed ended without a word"; }
    return "$(cat "$dir/status")"
}

bed_journal() { cat "$dir/journal"; }

bed_end() {
    [ -z "${launcher:-}" ] || { kill -KILL "$launcher" && wait "$launcher"; } 2>/dev/null || true
    remove_bed "$dir"
}
