# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later

# First process of a test host: let $LOGIN in with the key $KEY. What logind and udev do for a user on a real machine
# (a runtime directory, devices that everybody may open) has nobody to do it here.
set -- /usr/sbin/sshd -D -e
mkdir -p /run/sshd
if [ "$LOGIN" != root ]; then
    useradd --create-home --shell /bin/bash "$LOGIN"
    runtime=/run/user/$(id -u "$LOGIN")
    mkdir -p /run/user
    install -d -o "$LOGIN" -g "$LOGIN" -m 0700 "$runtime"
    chmod 0666 /dev/fuse /dev/net/tun
    set -- "$@" -o "SetEnv=XDG_RUNTIME_DIR=$runtime"
fi
home=$(getent passwd "$LOGIN" | cut -d: -f6)
install -d -o "$LOGIN" -g "$LOGIN" -m 0700 "$home/.ssh"
printf '%s\n' "$KEY" > "$home/.ssh/authorized_keys"
exec "$@"
