# shellcheck shell=bash
# Finds and installs Vulkan drivers. The other scripts source this file from the project's root.
#
# XENT_NO_INSTALL=1  install and download nothing
# XENT_ICD_DIRS      where to look for driver files, separated by colons (to test these scripts)

# Downloads that are not installed are kept here; git ignores them.
DRIVERS=$PWD/.drivers

# Mesa asks the display which GPU it is on, and complains on stderr if there is no display.
if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then export NODEVICE_SELECT=1; fi

say() { printf 'xent: %s\n' "$*"; }

# macOS has Metal and Windows has DX12: there is nothing to look for or install.
is_native() { case $(uname -s) in Darwin | MINGW* | MSYS* | CYGWIN*) ;; *) return 1 ;; esac; }

# ---- what is installed

# The driver files (Vulkan calls them ICDs) whose names match one of the patterns, separated by colons.
icds() {
  local IFS=: dir pattern file found="" dirs=${XENT_ICD_DIRS:-}
  if [ -z "$dirs" ]; then
    for dir in "${XDG_DATA_HOME:-${HOME:-}/.local/share}" /usr/share /etc /usr/local/share /usr/local/etc \
      /run/opengl-driver/share /usr/local/nvidia/share; do
      dirs=$dirs:$dir/vulkan/icd.d
    done
  fi
  for dir in ${dirs#:}; do
    for pattern; do
      # shellcheck disable=SC2231 # the pattern is there to be expanded
      for file in "$dir"/$pattern; do
        [ -f "$file" ] && found=$found:$file
      done
    done
  done
  printf '%s' "${found#:}"
}

lavapipe_icds() { icds 'lvp_icd*.json'; }

# Our own SwiftShader, or that of an installed Chromium or Chrome.
swiftshader_icd() {
  local dir
  for dir in "$DRIVERS/swiftshader" /usr/lib/chromium /opt/google/chrome; do
    if [ -f "$dir/vk_swiftshader_icd.json" ] && [ -f "$dir/libvk_swiftshader.so" ]; then
      printf '%s' "$dir/vk_swiftshader_icd.json"
      return
    fi
  done
}

# The driver of a hardware GPU. Mesa installs the drivers of all vendors at once, so a file alone proves nothing. There must
# also be a device that we may open, and the file must be the one for that device.
hardware_icds() {
  local node found
  for node in /dev/nvidia[0-9]* /dev/dxg /dev/dri/renderD*; do
    { [ -r "$node" ] && [ -w "$node" ]; } || continue
    case $node in
      /dev/nvidia*) set -- nvidia ;;
      /dev/dxg) set -- dxg ;;
      *) set -- "$(basename "$(readlink -f "/sys/class/drm/${node##*/}/device/driver" || true)")" ;;
    esac
    case $1 in
      nvidia*) set -- '*nvidia*.json' ;;
      amdgpu | radeon) set -- 'radeon*.json' 'amd*.json' ;;
      i915 | xe) set -- 'intel*.json' ;;
      nouveau) set -- 'nouveau*.json' ;;
      msm*) set -- 'freedreno*.json' ;;
      v3d) set -- 'broadcom*.json' ;;
      panfrost | panthor) set -- 'panfrost*.json' ;;
      asahi) set -- 'asahi*.json' ;;
      dxg) set -- 'dzn*.json' ;;
      *) continue ;;
    esac
    found=$(icds "$@")
    if [ -n "$found" ]; then
      printf '%s' "$found"
      return
    fi
  done
}

# libvulkan, which finds and loads the driver.
has_loader() {
  local IFS=: dir
  case $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true) in *libvulkan.so.1*) return ;; esac
  for dir in ${LD_LIBRARY_PATH:-} /usr/lib /usr/lib64 /usr/local/lib /run/opengl-driver/lib; do
    [ -e "$dir/libvulkan.so.1" ] && return
  done
  return 1
}

# An allocator for the compilers of the software adapters, as a value for LD_PRELOAD: with jemalloc, a pipeline takes 7 % less
# time on lavapipe than with glibc's own allocator, and 17 % less on SwiftShader.
allocator() {
  (PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null || true) | sed -n 's/.*libjemalloc\.so\.2 .*=> //p' | sed -n 1p
}

# Restricts Vulkan to these drivers. Loaders before 1.3.207 (Ubuntu 22.04 has one) know only the second name.
use_icds() { export VK_DRIVER_FILES=$1 VK_ICD_FILENAMES=$1; }

# Makes a downloaded loader available, if there is one.
use_own_loader() {
  if [ -e "$DRIVERS/loader/libvulkan.so.1" ]; then
    export LD_LIBRARY_PATH=$DRIVERS/loader${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  fi
}

# ---- what can be installed

# A password is asked for only on a terminal.
can_root() { [ "$(id -u)" = 0 ] || { command -v sudo && { [ -t 0 ] || sudo -n true; }; } >/dev/null 2>&1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

apt_install() {
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
  as_root "${apt[@]}" update || true # one broken source must not stop us
  as_root env DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

# The command that installs a software GPU by hand.
install_by_hand() {
  if command -v apt-get >/dev/null; then
    echo 'apt-get install mesa-vulkan-drivers libvulkan1'
  elif command -v dnf >/dev/null; then
    echo 'dnf install mesa-vulkan-drivers vulkan-loader'
  elif command -v pacman >/dev/null; then
    echo 'pacman -S vulkan-swrast vulkan-icd-loader'
  elif command -v zypper >/dev/null; then
    echo 'zypper install libvulkan_lvp libvulkan1'
  elif command -v apk >/dev/null; then
    echo 'apk add mesa-vulkan-swrast vulkan-loader'
  else
    echo "install your system's packages of the Vulkan loader and of lavapipe (Mesa's software Vulkan driver)"
  fi
}

install_lavapipe() {
  [ -z "${XENT_NO_INSTALL:-}" ] && can_root || return
  if command -v apt-get >/dev/null; then
    say 'installing a software GPU, lavapipe: apt-get install mesa-vulkan-drivers libvulkan1'
    apt_install mesa-vulkan-drivers libvulkan1
  elif command -v dnf >/dev/null; then
    say 'installing a software GPU, lavapipe: dnf install mesa-vulkan-drivers vulkan-loader'
    as_root dnf install -q -y --setopt=install_weak_deps=False mesa-vulkan-drivers vulkan-loader >/dev/null
  else
    return 1
  fi
}

# Unpacks a Debian package in the current folder without installing it; needs no root. If the system's lists of packages
# are missing or out of date, it downloads its own lists.
unpack_deb() {
  local apt=(apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=3)
  if ! "${apt[@]}" download "$1"; then
    # If there are lists and they do not know the package, it does not exist (for example on Ubuntu).
    if compgen -G '/var/lib/apt/lists/*_Packages*' && ! apt-cache show "$1"; then return 1; fi
    mkdir -p lists/partial archives/partial
    apt+=(-o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD")
    "${apt[@]}" update && "${apt[@]}" download "$1" || return
  fi
  dpkg-deb -x ./"$1"_*.deb .
}

may_fetch() { { [ -z "${XENT_NO_INSTALL:-}" ] && command -v apt-get && command -v dpkg-deb; } >/dev/null; }

# Keeps the files of a package that match a pattern, in a folder of .drivers.
fetch() { # package, folder, pattern
  local tmp rc=0
  tmp=$(mkdir -p "$DRIVERS" && mktemp -d "$DRIVERS/tmp.XXXXXX") || return
  # shellcheck disable=SC2086 # the pattern is there to be expanded
  (cd "$tmp" && unpack_deb "$1" && mkdir -p "$DRIVERS/$2" && mv $3 "$DRIVERS/$2") >/dev/null 2>&1 || rc=1
  rm -rf "$tmp"
  return $rc
}

# SwiftShader comes with Debian's Chromium. A second call finds the downloaded one.
fetch_swiftshader() {
  [ -z "$(swiftshader_icd)" ] || return 0
  may_fetch || return
  say 'downloading a software GPU, SwiftShader, to .drivers (30 MB: the package chromium-common, not installed)'
  fetch chromium-common swiftshader 'usr/lib/chromium/*vk_swiftshader*'
}

fetch_loader() {
  has_loader && return
  may_fetch && fetch libvulkan1 loader 'usr/lib/*/libvulkan.so.1*' && use_own_loader
}

# ---- getting an adapter

# Takes an installed driver, else installs lavapipe, else downloads SwiftShader, and says which one it is. It never fails:
# without any driver, `xent` computes on the CPU.
ensure_adapter() {
  local icd=${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}
  if is_native; then
    say 'GPU: through Metal or DX12, nothing to install'
    return
  elif [ -n "$icd" ]; then
    say "Vulkan driver: $icd (from VK_DRIVER_FILES)"
    return
  fi

  if ! has_loader || [ -z "$(hardware_icds)$(lavapipe_icds)" ]; then
    install_lavapipe || say "to install a software GPU by hand, as root: $(install_by_hand)"
  fi
  if ! fetch_loader; then
    say 'no Vulkan driver: continuing without one'
    return
  fi
  icd=$(hardware_icds)
  if [ -n "$icd" ]; then
    # In containers, this driver is in a place where the loader does not look.
    case $icd in /usr/local/nvidia/*) use_icds "$icd" ;; esac
    say "Vulkan driver: $icd (hardware)"
    return
  fi
  icd=$(lavapipe_icds)
  if [ -n "$icd" ]; then
    say "Vulkan driver: $icd (lavapipe, software)"
  elif fetch_swiftshader; then
    icd=$(swiftshader_icd)
    use_icds "$icd"
    say "Vulkan driver: $icd (SwiftShader, software)"
  else
    say 'no Vulkan driver: continuing without one'
  fi
}

use_own_loader
