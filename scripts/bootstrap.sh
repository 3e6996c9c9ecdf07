# Prepare this machine and checkout; sourced by the commands beside it, which then call `prepare`.
# Every step looks first and does nothing that was done before. Plain POSIX sh: nothing else may be there yet.

command_name=${0##*/}
checkout=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$checkout" || exit 1

say() { printf '%s: %s\n' "$command_name" "$*" >&2; }

# One line that says what is wrong and what helps.
explain() {
    say "$*"
    exit 1
}

# prepare EXTRAS SERVERS
# Leaves $python: the interpreter of a virtual environment that holds the project with its [EXTRAS], in the releases that
# the locks name. With releases=newest it is another environment, with the newest ones that setup.cfg allows.
# SERVERS: needed, wanted (where they cannot be installed, say so and go on, unless CI is set), unused, or all: wanted,
# with a browser and the programs that check what is deployed.
releases=locked
prepare() {
    [ "$(uname -s)" = Linux ] || explain "this needs Linux (fork, pidfd and /proc as they are there)"
    [ -r /proc/self/stat ] || explain "/proc is not mounted; run: mount -t proc proc /proc"
    [ -c /dev/null ] && [ -c /dev/urandom ] || explain "/dev is empty; run: mount --bind /dev in this root from outside"
    [ -w "$checkout" ] || explain "$checkout is not writable, and .venv is made in it"
    install_programs "$2"
    make_environment "$1"
}

# --- programs ------------------------------------------------------------------------------------------------

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# The interpreter to use, in $base_python; empty when there is none.
find_python() {
    base_python=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            base_python=$(command -v "$candidate")
            return
        fi
    done
    [ -z "${PYTHON:-}" ] || explain "PYTHON=$PYTHON was not found or is older than 3.11"
}

has_venv() { "$base_python" -c 'import ensurepip, venv' >/dev/null 2>&1; }

has_rabbitmq() { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null; }

has_postgres() {
    for found in /usr/lib/postgresql/*/bin/initdb; do
        [ ! -x "$found" ] || return 0
    done
    command -v initdb >/dev/null
}

# find_packages SERVERS: the distribution's packages for what is missing, in $packages.
find_packages() {
    packages=
    find_python
    if [ -z "$base_python" ]; then
        packages="python3 python3-venv"
    elif ! has_venv; then
        packages="$("$base_python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    if [ "$1" != unused ]; then
        has_rabbitmq || packages="$packages rabbitmq-server"
        has_postgres || packages="$packages postgresql"
        command -v openssl >/dev/null || packages="$packages openssl"
    fi
    case $1 in
    wanted | all) command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || packages="$packages pgbouncer" ;;
    esac
    [ "$1" != all ] || find_further_packages
    [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ] || [ -s /etc/ssl/cert.pem ] ||
        packages="$packages ca-certificates"
    packages=${packages# }
}

# What the whole suite needs besides. Ubuntu has Chromium as a snap only: there it must have been installed.
find_further_packages() {
    command -v chromium >/dev/null || grep -qs '^ID=ubuntu' /etc/os-release || packages="$packages chromium"
    command -v promtool >/dev/null || packages="$packages prometheus"
    command -v systemd-analyze >/dev/null || packages="$packages systemd"
    command -v unshare >/dev/null && command -v nsenter >/dev/null || packages="$packages util-linux"
    command -v debootstrap >/dev/null || [ -x /usr/sbin/debootstrap ] || packages="$packages debootstrap"
}

# What the packages are for, in words for a machine that has other packages.
programs_of() {
    for package in $1; do
        case $package in
        python3) printf 'Python 3.11 or newer; ' ;;
        python3*venv) printf 'its venv and ensurepip modules; ' ;;
        rabbitmq-server) printf 'RabbitMQ 3.9 or newer (rabbitmq-server, epmd); ' ;;
        postgresql) printf 'PostgreSQL 14 or newer (initdb, postgres); ' ;;
        pgbouncer) printf 'PgBouncer (the tests of the database run through it, too); ' ;;
        chromium) printf 'Chromium (the dashboard); ' ;;
        prometheus) printf 'promtool (alert rules); ' ;;
        systemd) printf 'systemd-analyze (units); ' ;;
        util-linux) printf 'unshare and nsenter (PID 1); ' ;;
        debootstrap) printf 'debootstrap (the container image); ' ;;
        openssl) printf 'the openssl program (certificates for tests); ' ;;
        ca-certificates) printf 'root certificates for TLS; ' ;;
        esac
    done
}

install_programs() {
    find_packages "$1"
    [ -n "$packages" ] || return 0
    if ! command -v apt-get >/dev/null; then
        without_programs "$1" "apt-get is not here; install these first: $(programs_of "$packages")"
        return 0
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            without_programs "$1" "run this as root, or first: apt-get install $packages"
            return 0
        fi
        as_root=sudo
    fi
    say "installing $packages (a few minutes; services are not started)"
    if ! apt_install $packages; then
        without_programs "$1" "apt-get could not install $packages: $(apt_reason)"
        return 0
    fi
    find_python
    if [ -z "$base_python" ]; then # Ubuntu 22.04 has 3.10 by this name, and a newer one beside it
        say "python3 is older than 3.11 here; installing python3.11"
        apt_install python3.11 python3.11-venv || explain "this distribution has no Python 3.11; install one and set PYTHON"
        find_python
    fi
    rm -f "$apt_log"
}

# Something could not be installed: go on without it where that makes sense, else explain.
without_programs() {
    if { [ "$1" = wanted ] || [ "$1" = all ]; } && [ -z "${CI:-}" ] && [ -n "$base_python" ] && has_venv; then
        say "$2"
        say "going on: tests that need what is missing are skipped"
    else
        explain "$2"
    fi
}

apt_install() {
    apt_log=${apt_log:-$(mktemp)}
    keep_services_down
    {
        $as_root apt-get -q update &&
            $as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y \
                -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
    } >"$apt_log" 2>&1 </dev/null
    apt_status=$?
    let_services_start
    return $apt_status
}

apt_reason() { printf '%s (whole output: %s)' "$(grep -E '^(E:|Err:|dpkg: error)' "$apt_log" | tail -n 1)" "$apt_log"; }

# Packages ask policy-rc.d whether to start their services. If nobody answers here, answer no while we install.
keep_services_down() {
    policy=
    [ ! -e /usr/sbin/policy-rc.d ] || return 0
    policy=/usr/sbin/policy-rc.d
    trap let_services_start EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy"
}

let_services_start() {
    [ -z "$policy" ] || $as_root rm -f "$policy"
    policy=
    trap - EXIT INT TERM HUP
}

# --- the virtual environment ---------------------------------------------------------------------------------

pip_reason() { grep -i error "$pip_log" | tail -n 1 | grep . || tail -n 1 "$pip_log"; }

make_environment() {
    version=$("$base_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    environment=.venv
    [ -z "${PYTHON:-}" ] || environment=.venv-$version # so that one chosen by hand does not replace the usual one
    [ "$releases" = locked ] || environment=$environment-$releases
    python=$checkout/$environment/bin/python
    wanted="$version $(cat setup.cfg pyproject.toml requirements.lock locks/*.lock | cksum) $checkout"
    stamp=$environment/installed-$1
    # What is newest today is not known before pip has asked
    [ ! -x "$python" ] || ! "$python" -c 'import pip' 2>/dev/null || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] ||
        [ "$releases" = newest ] || return 0
    pip_log=$(mktemp)
    if [ "$("$python" -c 'import pip, sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]; then
        say "making $environment with Python $version"
        "$base_python" -m venv --clear "$environment" >"$pip_log" 2>&1 ||
            explain "no virtual environment: $(tail -n 1 "$pip_log")"
    fi
    say "installing the project${1:+ with its [$1] extra}, $releases releases, into $environment"
    # shellcheck disable=SC2046 (words)
    case $releases in
    locked)
        pip_install --require-hashes $(locks_of "$1")
        # Not in isolation: for that pip would fetch whatever builds packages today
        pip_install --no-deps --no-build-isolation -e .
        ;;
    newest) pip_install --upgrade --upgrade-strategy eager -e ".${1:+[$1]}" ;;
    esac
    printf '%s\n' "$wanted" >"$stamp"
    rm -f "$pip_log"
}

# locks_of EXTRAS: pip's arguments for what they are locked to.
locks_of() {
    printf ' -r %s' requirements.lock locks/build.lock
    for extra in $(printf %s "$1" | tr , ' '); do printf ' -r locks/%s.lock' "$extra"; done
}

pip_install() {
    # By variables, because pip 22.0 does not know the second as an option
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
        "$python" -m pip install "$@" >"$pip_log" 2>&1 || explain "pip failed: $(pip_reason) (whole output: $pip_log)"
}
