# shellcheck shell=bash
# Node and its packages, for the checks that need them. The scripts of these checks source this file.

# Says why node cannot be used, if it cannot.
node_is_missing() {
  if ! { command -v node && command -v npm; } >/dev/null; then
    echo 'node and npm are not installed'
  elif ! node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor >= 1820 ? 0 : 1)'; then
    echo 'node is older than 18.20'
  fi
}

# Installs what the lock file of the current folder says, unless it is there.
install_packages() {
  if ! cmp -s package-lock.json node_modules/installed.json; then
    npm ci --ignore-scripts --no-audit --no-fund --silent
    cp package-lock.json node_modules/installed.json
  fi
}
