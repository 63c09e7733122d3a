# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs once, as mmdebstrap's last hook, with the new root file system as $1.
# Excluding these files in dpkg.cfg from the start would cost 5 s: mmdebstrap then filters every archive in Python.
set -eu
cd "$1"
rm -rf usr/share/info/* usr/share/locale/* usr/share/man/*
find usr/share/doc ! -type d ! -name copyright -delete
find usr/share/doc -mindepth 1 -type d -empty -delete
# Facts of the building machine, copied by mmdebstrap for its own apt; podman provides both at run time.
rm -f etc/resolv.conf etc/hostname
# Leaves as "asked for" what an image asks for, which is what its label lists; base-files carries Debian's point release.
chroot . sh -c 'apt-mark showmanual | xargs apt-mark auto; apt-mark manual apt base-files' >/dev/null
