# Sourced by the scripts beside it: which PostgreSQL, and where this checkout's private copy of it lives.
# shellcheck shell=bash
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PGRX_VERSION=0.18.1

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

newest_installed_postgres() {
    local major
    for major in 18 17 16 15 14; do
        [ ! -x "/usr/lib/postgresql/$major/bin/postgres" ] || { echo "$major"; return; }
    done
}

# Everything below depends on the major version, which setup learns late on a bare machine.
use_postgres() {
    PG=$1
    [[ $PG =~ ^1[4-8]$ ]] || die "PG=$PG: PostgreSQL 14 to 18 are supported"
    local home id
    # initdb refuses to run as root, so root's clusters belong to postgres, who cannot look into /root.
    if is_root; then home=/var/cache/minion; else home=${XDG_CACHE_HOME:-$HOME/.cache}/minion; fi
    # One copy per checkout: two checkouts tested at once must not load each other's minion.so.
    id=$(cksum <<<"$REPO")
    SANDBOX=${MINION_HOME:-$home}/pg$PG-${id%% *}
    MINION_BIN=$SANDBOX/lib/postgresql/$PG/bin
    export PG SANDBOX MINION_BIN PGRX_HOME=$SANDBOX/pgrx
    # shellcheck disable=SC2034
    FEATURES=(--no-default-features --features "pg$PG")
}

# A cargo-pgrx of another version, which other projects may need, stays as it is; ours then lives beside the sandboxes.
find_cargo_pgrx() {
    local candidate
    for candidate in "$(command -v cargo-pgrx || true)" "${SANDBOX%/*}/cargo-pgrx/bin/cargo-pgrx"; do
        [ -x "$candidate" ] || continue
        [ "$("$candidate" pgrx --version 2>&1)" = "cargo-pgrx $PGRX_VERSION" ] || continue
        export CARGO_PGRX=$candidate # pgrx-tests looks here first
        return
    done
    return 1
}

use_what_setup_made() {
    local major=${PG:-$(newest_installed_postgres)}
    [ -n "$major" ] && use_postgres "$major" && find_cargo_pgrx && [ -e "$SANDBOX/stamp" ] || die "run make setup first"
}

cargo_pgrx() { "$CARGO_PGRX" pgrx "$@"; }

# Runs a program as the owner of throwaway clusters, in a directory that owner can be in.
as_owner() {
    if is_root; then
        (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "$@")
    else
        "$@"
    fi
}

command -v cargo >/dev/null || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
