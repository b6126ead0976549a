# shellcheck shell=bash
# Shared by the scripts beside it: where the repository is, versions, and which toolchain builds for wasm32.
# Sourced, never run.

# The folder of the repository, whatever the caller's working directory is.
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WASM_TARGET=wasm32-unknown-unknown

# Programs that `cargo install` put there are found even where the login shell does not look for them.
CARGO_BIN="${CARGO_INSTALL_ROOT:-${CARGO_HOME:-$HOME/.cargo}}/bin"
case ":$PATH:" in
*":$CARGO_BIN:"*) ;;
*) export PATH="$PATH:$CARGO_BIN" ;;
esac

# Drivers, browsers and test servers are on this machine: no proxy stands between.
case ",${NO_PROXY:-},${no_proxy:-}," in
*,\*,*) ;;
*)
    NO_PROXY="${NO_PROXY:+$NO_PROXY,}${no_proxy:+$no_proxy,}localhost,127.0.0.1,::1,[::1]"
    export NO_PROXY no_proxy="$NO_PROXY"
    ;;
esac

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# fetch_npm PACKAGE VERSION SHA512 FOLDER: unpacks a package of npm, which has to be the very file, to FOLDER/package.
fetch_npm() {
    local package=$1 version=$2 sha512=$3 folder=$4 archive found
    say "fetching $package $version from npm" >&2
    archive="$folder/$(cd "$folder" && npm pack --silent "$package@$version")"
    found=$(sha512sum "$archive" | cut -d' ' -f1)
    [ "$found" = "$sha512" ] || die "$package $version has sha512 $found, expected $sha512"
    tar -xzf "$archive" -C "$folder"
}

# wasm-bindgen's command must equal the library's version to the last digit, so Cargo.lock decides.
wasm_bindgen_version() {
    local locked=""
    if [ -f "$REPO/Cargo.lock" ]; then
        locked=$(awk '$1 == "name" && $3 == "\"wasm-bindgen\"" { found = 1 }
            found && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' "$REPO/Cargo.lock")
    fi
    printf '%s\n' "${locked:-0.2.130}"
}

# Prints the file that names the compiler a std was built with; `setup.sh` writes it beside a std it built itself.
std_stamp() { printf '%s/built-by' "$1"; }

# Does this rustc have a std for wasm32, and if we built it, with this very compiler?
has_wasm_std() {
    local rustc=$1 dir
    dir=$("$rustc" --print target-libdir --target "$WASM_TARGET" 2>/dev/null) || return 1
    compgen -G "$dir/libstd-*.rlib" >/dev/null || return 1
    [ ! -f "$(std_stamp "$dir")" ] || [ "$("$rustc" -vV)" = "$(cat "$(std_stamp "$dir")")" ]
}

# Prints the folder of the cargo and rustc that can build for wasm32: the user's own when it has the target
# (rustup), else Debian's. Prints nothing when there is none yet: `make setup` mends that.
# WEBNIBBLE_WASM_TOOLCHAIN names one folder and rules out the others (`/usr/bin` tests Debian's way beside rustup's).
wasm_toolchain() {
    local bin
    for bin in ${WEBNIBBLE_WASM_TOOLCHAIN:-"$(dirname "$(command -v rustc || echo /usr/bin/rustc)")" /usr/bin}; do
        if [ -x "$bin/rustc" ] && [ -x "$bin/cargo" ] && has_wasm_std "$bin/rustc"; then
            printf '%s\n' "$bin"
            return
        fi
    done
}

# Prints the folder of the cargo and rustc that can build std for threads in wasm32: as `wasm_toolchain`, with the source
# of std in its sysroot.
wasm_threads_toolchain() {
    local bin
    for bin in ${WEBNIBBLE_WASM_TOOLCHAIN:-"$(dirname "$(command -v rustc || echo /usr/bin/rustc)")" /usr/bin}; do
        if [ -x "$bin/rustc" ] && [ -x "$bin/cargo" ] && has_wasm_std "$bin/rustc" && has_std_source "$bin/rustc"; then
            printf '%s\n' "$bin"
            return
        fi
    done
}

has_std_source() { [ -f "$("$1" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; }

# Prints where a variant of the agent is built: baseline, relaxed or threads.
wasm_target_dir() {
    local dir="${WEBNIBBLE_WASM_TARGET_DIR:-$REPO/target/wasm}"
    [ "$1" = baseline ] || dir="$dir-$1"
    printf '%s\n' "$dir"
}

# wasm_environment VARIANT: lets the cargo of this shell and of what it starts build a variant of the agent (baseline, relaxed
# or threads); leaves in wasm_flags what cargo must be given besides.
# shellcheck disable=SC2034 # wasm_flags is for whoever calls
wasm_environment() {
    local variant=$1 bin llvm
    wasm_flags=()
    case $variant in
    baseline) bin=$(wasm_toolchain) ;;
    relaxed) bin=$(wasm_toolchain) wasm_flags=(--config "$REPO/.cargo/relaxed.toml") ;;
    threads)
        bin=$(wasm_threads_toolchain) wasm_flags=(--config "$REPO/.cargo/threads.toml")
        # The std that ships is built for one thread: another is built from its source, which a stable cargo does not offer.
        export RUSTC_BOOTSTRAP=1
        ;;
    *) die "a variant should be baseline, relaxed or threads, found $variant" ;;
    esac
    [ -n "$bin" ] || die "no compiler here has a std for $WASM_TARGET ($variant); run 'make setup'"

    # First on PATH: cargo finds rustc, rustdoc and its subcommands (cargo-clippy) there.
    export PATH="$bin:$PATH"
    export CARGO_BUILD_TARGET="$WASM_TARGET"
    CARGO_TARGET_DIR=$(wasm_target_dir "$variant")
    export CARGO_TARGET_DIR
    # A caller's flags would replace those of .cargo/config.toml, without which web-sys has no WebGPU.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC RUSTDOC
    # Debian's compiler has no linker of its own for wasm32: name the one that setup installs for its LLVM.
    if [ "$bin" = /usr/bin ]; then
        llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
        if have "wasm-ld-$llvm"; then
            export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="wasm-ld-$llvm"
        fi
    fi
}
