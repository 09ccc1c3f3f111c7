# shellcheck shell=bash
# The virtual environment .venv of this project: made when missing, renewed when what it is made
# from has changed. Sourced by the other scripts, from the top of the project.

# Say in one line why nothing goes on.
fail() {
  echo "error: $*" >&2
  exit 1
}

# Print the first Python that is new enough.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer is needed and was not found; install it, or set PYTHON=/path/to/it"
}

# Install a Debian package where that can be done without asking anybody; a service that it brings
# isn't started (RUNLEVEL, which Debian's invoke-rc.d goes by).
install_debian_package() {
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || return 1
  echo "Installing the Debian package $1 ..."
  (
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    install="apt-get install -y -qq --no-install-recommends $1"
    $install || { apt-get update -qq && $install; }
  ) </dev/null >/dev/null 2>&1
}

# The venv module of Debian's Python is a package of its own.
require_venv() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null && return
  local package
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  install_debian_package "$package" && "$1" -c 'import ensurepip, venv' 2>/dev/null && return
  fail "$1 has no venv module; install it (Debian: apt-get install $package)"
}

# Print the requirements of some dependency groups of pyproject.toml, one a line.
requirements_of() {
  .venv/bin/python - "$@" <<'PYTHON'
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    groups = tomllib.load(file)["dependency-groups"]
print("\n".join(line for name in sys.argv[1:] for line in groups[name]))
PYTHON
}

# Compile what is not compiled yet, for that may be switched off for programs that run
# (PYTHONDONTWRITEBYTECODE): every command of every test would do it again.
compile_modules() {
  .venv/bin/python -m compileall -q rollout scripts || fail "a module does not compile; see above"
}

# prepare_environment [GROUP...]: make .venv hold this package and these dependency groups.
prepare_environment() {
  local stamp wanted python log
  stamp=".venv/installed$(printf -- '-%s' "$@")"
  if ! .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python) || exit 1
    require_venv "$python"
    echo "Making the virtual environment .venv with $("$python" --version) ..."
    rm -rf .venv
    "$python" -m venv .venv || fail "$python cannot make a virtual environment in .venv"
  fi
  wanted=$({ pwd && .venv/bin/python --version && cat pyproject.toml constraints.txt; } | cksum)
  if [ -x .venv/bin/rollout ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    compile_modules
    return
  fi
  echo "Installing rollout and what it needs into .venv (versions: constraints.txt) ..."
  log=$(mktemp)
  # The variables hold the build to the same versions; pip reads one or the other.
  # shellcheck disable=SC2046 # a requirement has no spaces
  if ! PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --editable . \
    $([ $# -eq 0 ] || requirements_of "$@") </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "pip could not install the packages; its messages stand above"
  fi
  rm -f "$log"
  echo "$wanted" >"$stamp"
  compile_modules
}
