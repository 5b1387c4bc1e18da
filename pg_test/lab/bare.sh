#!/usr/bin/env bash
# First runs on bare machines: Debian roots by debootstrap, with what README asks for and one thing more or less in each.
#
#   pg_test/lab/bare.sh ready [STATE...]   set-up alone, nothing is compiled: what is missing is told, libclang reads the headers
#   pg_test/lab/bare.sh demo [STATE...]    make demo from nothing
#   pg_test/lab/bare.sh quick [STATE...]   make demo of a library that is not optimised, with the crates that were compiled before
#   pg_test/lab/bare.sh clean
#
# Needs root, debootstrap and a Rust toolchain. The roots come from the mirror of the machine's apt (or MIRROR=...) and lie under PLACE.
# Each state is an overlay over its root, with the tracked files alone, as a tarball has them; crates that this machine's cargo has
# downloaded are not downloaded again. To see that nothing but the package registries is needed, run it where nothing else can be reached.
set -euo pipefail

PLACE=${PLACE:-/var/tmp/pg_strata-bare}
SUITES="bookworm trixie"
BASE="make,gcc,libc6-dev,python3,ca-certificates"
HERE=$(cd "$(dirname "$0")/../.." && pwd)

# State, suite, user, packages beside BASE (-: without), conditions, and what one line then says.
states() {
    cat <<'END'
plain-12          bookworm root   python3-venv                                -                         ready to build
plain-13          trixie   user   python3-venv                                -                         ready to build
cpp-12            bookworm root   python3-venv,libclang-cpp14                 -                         ready to build
cpp-12-user       bookworm user   python3-venv,libclang-cpp14                 -                         ready to build
llvm-12           bookworm user   python3-venv,llvm                           -                         ready to build
cpp-13            trixie   root   python3-venv,libclang-cpp19                 -                         ready to build
libclang-12       bookworm user   python3-venv,libclang-dev                   -                         ready to build .*libclang-14
libclang-13       trixie   root   python3-venv,libclang-dev                   -                         ready to build .*libclang-19
headless-12       bookworm user   python3-venv,libclang1-14                   -                         ready to build .*libclang-14
headless-13       trixie   user   python3-venv,libclang1-19                   -                         ready to build .*libclang-19
clang-13-on-12    bookworm user   python3-venv,clang-13                       -                         ready to build .*libclang-13
clang-19-on-12    bookworm root   python3-venv,clang-19                       -                         ready to build .*libclang-19
clang-17-on-13    trixie   user   python3-venv,clang-17                       -                         ready to build .*libclang-17
two-clangs-13     trixie   root   python3-venv,clang-17,libclang1-19          -                         ready to build .*libclang-19
server-only-12    bookworm root   python3-venv,postgresql-15                  -                         leaving out PostgreSQL 15: .*apt install postgresql-server-dev-15$
headers-only-12   bookworm user   python3-venv,postgresql-server-dev-15       -                         leaving out PostgreSQL 15: .*apt install postgresql-15$
both-12           bookworm root   python3-venv,postgresql-15,postgresql-server-dev-15 -                 ready to build for PostgreSQL 15
space-13          trixie   user   python3-venv                                space,backtrace           ready to build
read-only-home-12 bookworm user   python3-venv                                read-only                 ready to build
all-13            trixie   user   python3-venv                                space,backtrace,read-only ready to build
no-venv-12        bookworm user   -                                           -                         apt install python3-venv, or dnf install
no-venv-13        trixie   root   -                                           -                         ready to build
no-gcc-12         bookworm user   python3-venv,-gcc                           -                         apt install gcc libc6-dev, or dnf install gcc
no-libc-dev-13    trixie   root   python3-venv,-libc6-dev                     -                         apt install gcc libc6-dev, or dnf install gcc
no-rust-12        bookworm user   python3-venv                                no-rust                   cargo is not on the PATH: install Rust
old-rust-13       trixie   user   python3-venv,rustc,cargo                    no-rust                   older than .*: rustup update
END
}

say() { echo "== $*"; }

root_of() {
    local suite=$1 root=$PLACE/$1
    [ -e "$root/made" ] && return
    local mirror=${MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' | awk '$1 == "Debian" { print $2; exit }')}
    say "debootstrap $suite: two minutes"
    rm -rf "$root"
    debootstrap --variant=minbase --include="$BASE" "$suite" "$root" "$mirror" >"$PLACE/$suite.log"
    chroot "$root" useradd --create-home --shell /bin/sh user
    touch "$root/made"
}

# Runs what follows in the state's root, as its user; $checkout and $home are paths within.
inside() {
    local path=/usr/local/bin:/usr/bin:/bin:/opt/rust/bin
    [ "$user" = root ] && path=/usr/sbin:/sbin:$path
    case $conditions in *backtrace*) set -- env RUST_BACKTRACE=1 "$@" ;; esac
    chroot "$merged" setpriv --reuid "$user" --regid "$user" --init-groups \
        env -i HOME="$home" PATH="$path" LANG=C.UTF-8 sh -c 'cd "$1"; shift; exec "$@"' sh "$checkout" "$@"
}

# Mounts the state's root, installs its packages and copies the checkout.
lay_out() {
    local layers=$PLACE/$name seed
    merged=$layers/merged
    home=$([ "$user" = root ] && echo /root || echo /home/user)
    case $conditions in *space*) checkout="/srv/my checkouts/pg_strata" ;; *) checkout=/srv/pg_strata ;; esac
    mkdir -p "$layers"/{upper,work,merged}
    mount -t overlay overlay -o "lowerdir=$PLACE/$suite,upperdir=$layers/upper,workdir=$layers/work" "$merged"
    mount -t proc proc "$merged/proc"
    mount --rbind /dev "$merged/dev"
    cp /etc/resolv.conf "$merged/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$merged/etc/ssl/certs/ca-certificates.crt"
    install_packages
    case $conditions in
        *no-rust*) ;;
        *) mkdir -p "$merged/opt/rust"; mount --bind -o ro "$(rustc --print sysroot)" "$merged/opt/rust" ;;
    esac
    mkdir -p "$merged$checkout"
    git -C "$HERE" ls-files -z --cached --others --exclude-standard | tar -C "$HERE" --null -T - -cf - | tar -C "$merged$checkout" -xf -
    for seed in "$merged$home/.cargo" "$merged$checkout/target/cargo"; do
        mkdir -p "$seed/registry"
        cp -a "${CARGO_HOME:-$HOME/.cargo}/registry/"{cache,index} "$seed/registry/" 2>/dev/null || true
    done
    if [ $what = quick ] && [ -e "$PLACE/$suite-$user.crates" ]; then cp -a "$PLACE/$suite-$user.crates" "$merged$checkout/target/release"; fi
    chroot "$merged" chown -R "$user:" "$checkout" "$home"
    case $conditions in *read-only*) mount --bind "$merged$home" "$merged$home"; mount -o remount,ro,bind "$merged$home" ;; esac
}

install_packages() {
    local add remove
    add=$(tr , '\n' <<<"$packages" | grep -v '^-' | xargs || true)
    remove=$(tr , '\n' <<<"$packages" | grep '^-.' | cut -c2- | xargs || true)
    export DEBIAN_FRONTEND=noninteractive
    if [ -n "$add$remove" ]; then chroot "$merged" apt-get update -qq; fi
    if [ -n "$add" ]; then chroot "$merged" apt-get install -y -qq --no-install-recommends $add >"$PLACE/$name/apt.log" 2>&1; fi
    if [ -n "$remove" ]; then chroot "$merged" apt-get remove -y -qq $remove >>"$PLACE/$name/apt.log" 2>&1; fi
}

# Keeps compiled crates for states of the suite and the user, whose home is in cargo's fingerprints. Without pgrx-pg-sys, which holds what
# bindgen has read, each state makes it anew, and what depends on it.
keep_crates() {
    [ -e "$PLACE/$suite-$user.crates" ] && return
    local part=$PLACE/$suite-$user.part
    rm -rf "$part"
    cp -a "$merged$checkout/target/release" "$part"
    find "$part" -depth -name '*pgrx[-_]pg[-_]sys*' -exec rm -rf {} +
    mv "$part" "$PLACE/$suite-$user.crates"
}

# Whether the run said what it has to: one that ends in its only line, one that goes well as it goes. Which libclang is found, and what
# is said of PostgreSQL 15, is told by `ready` alone.
passed() {
    case $what:$said in
        ready:ready* | ready:leaving*) [ $rc = 0 ] && grep -qE "^-- .*$said" "$log" ;;
        *:ready* | *:leaving*) [ $rc = 0 ] && grep -q "^DuckDB and pyarrow read from the file what PostgreSQL holds" "$log" ;;
        *) [ $rc != 0 ] && grep -qE "^pg_strata: .*$said" "$log" ;;
    esac
}

run_state() {
    local log=$PLACE/$name.log rc=0 start=$SECONDS
    lay_out
    case $what in
        ready) inside python3 -m pg_test.lab ready 18 15 >"$log" 2>&1 || rc=$? ;;
        demo) inside make demo >"$log" 2>&1 || rc=$? ;;
        quick) inside env CARGO_INCREMENTAL=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 make demo >"$log" 2>&1 || rc=$? ;;
    esac
    if passed; then
        printf 'pass  %-18s %4d s  %s\n' "$name" $((SECONDS - start)) "$(grep -E '^(--|pg_strata:|DuckDB and) ' "$log" | tail -1 | cut -c1-140)"
        if [ $what:$rc = quick:0 ]; then keep_crates; fi
    else
        printf 'FAIL  %-18s, exit status %d, %s\n' "$name" $rc "$log"
        tail -5 "$log"
        failed=1
    fi
    umount -R "$merged"
    rm -rf "${PLACE:?}/$name"
}

what=${1:?ready, demo, quick or clean}
shift
if [ "$what" = clean ]; then rm -rf "$PLACE"; exit; fi
# Mounts are seen, and left behind, by nobody else.
[ -n "${PG_STRATA_BARE:-}" ] || PG_STRATA_BARE=1 exec unshare --mount --propagation private "$0" "$what" "$@"
mkdir -p "$PLACE"
failed=0
found=0
while read -r name suite user packages conditions said; do
    case " ${*:-$name} " in *" $name "*) found=$((found + 1)); root_of "$suite" && run_state </dev/null ;; esac
done < <(states)
[ $found -gt 0 ] || { echo "no such state" >&2; exit 2; }
exit $failed
