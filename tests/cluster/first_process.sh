# The first process of a host made of namespaces: mounts what the host has for itself, says so, and reaps.
# Arguments: name, home, folder of the host. It must reap: `ray stop` waits for processes that would stay zombies.
set -e
name=$1 home=$2 folder=$3
mount --make-rprivate /
hostname "$name"
mount -t tmpfs -o size=4g tmpfs /dev/shm
mount -t overlay overlay -o "lowerdir=$home,upperdir=$folder/home/upper,workdir=$folder/home/work" "$home"
rm -rf "$home/.ray" "$home/.ssh"
mount --bind "$folder/ray" /tmp/ray
mount --bind "$folder/../hosts" /etc/hosts
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
echo ready
exec >/dev/null 2>&1
while :; do
    sleep 3600 &
    wait $!
done
