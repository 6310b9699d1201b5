package lab

import (
	"os"
	"os/exec"
	"path/filepath"
)

// program returns the path of a program, also one that Debian keeps in /usr/sbin.
func (l *Lab) program(name string) string {
	l.Helper()
	p, ok := Program(name)
	if !ok {
		l.Fatalf("lab: %s is not installed; run `make deps`", name)
	}
	return p
}

// Program finds an installed program, also one in a folder for administrators.
func Program(name string) (string, bool) {
	if p, err := exec.LookPath(name); err == nil {
		return p, true
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode()&0o111 != 0 {
			return p, true
		}
	}
	return "", false
}
