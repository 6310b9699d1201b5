package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	dbFile     = "drawbridge.db"
	lockFile   = "lock"
	backupsDir = "backups"
)

// folder is a store's folder, held by this process.
type folder struct {
	dir  string
	lock *os.File
}

// takeFolder makes dir if there is none, and takes its lock. Errors: ErrNetwork,
// ErrBusy, ErrReadOnly, ErrFull.
func takeFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, classify(err)
	}
	if fs, err := networkFS(dir); err != nil {
		return nil, err
	} else if fs != "" {
		return nil, fmt.Errorf("%w (%s): locks and syncs cannot be trusted there", ErrNetwork, fs)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, classify(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	return &folder{dir, f}, nil
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// free gives the folder up.
func (f *folder) free() error { return f.lock.Close() }

// networkTypes are file systems of other machines, by the magic of statfs(2).
var networkTypes = map[int64]string{
	0x6969: "nfs", 0x517B: "smb", 0xFF534D42: "cifs", 0xFE534D42: "smb2", 0x5346414F: "afs", 0x6B414653: "afs",
	0x73757245: "coda", 0x00C36400: "ceph", 0x01021997: "9p", 0x0BD00BD0: "lustre", 0x47504653: "gpfs",
	0x013111A8: "ibrix", 0xAAD7AAEA: "panfs",
}

const fuseMagic = 0x65735546

// localFuse are the FUSE file systems that are on this machine.
var localFuse = map[string]bool{"fuseblk": true, "fuse.fuse-overlayfs": true, "fuse.ntfs-3g": true, "fuse.mergerfs": true}

// networkFS names the network file system that dir is on, "" if it is on none.
func networkFS(dir string) (string, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("statfs: %w", err)
	}
	return remote(int64(st.Type), func() string { return mountType(dir) }), nil
}

// remote names a network file system by its magic; FUSE is told by the type that
// it is mounted as.
func remote(magic int64, mounted func() string) string {
	magic &= 0xFFFFFFFF // int32 on some machines
	if magic != fuseMagic {
		return networkTypes[magic]
	}
	if t := mounted(); !localFuse[t] {
		return t
	}
	return ""
}

// mountType is the type of the file system that dir is on, as
// /proc/self/mountinfo names it; "fuse" if it cannot be found.
func mountType(dir string) string {
	const unknown = "fuse"
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return unknown
	}
	if real, err = filepath.Abs(real); err != nil {
		return unknown
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return unknown
	}
	defer func() { _ = f.Close() }()
	found, best := unknown, -1
	for sc := bufio.NewScanner(f); sc.Scan(); {
		at, t := mountLine(sc.Text())
		if (real == at || at == "/" || strings.HasPrefix(real, at+"/")) && len(at) >= best && at != "" {
			found, best = t, len(at)
		}
	}
	return found
}

// mountLine returns where something is mounted, and its type (proc(5)).
func mountLine(line string) (at, fstype string) {
	left, right, ok := strings.Cut(line, " - ")
	f := strings.Fields(left)
	if !ok || len(f) < 5 {
		return "", ""
	}
	fstype, _, _ = strings.Cut(right, " ")
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[4]), fstype
}
