package lab

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Terminal is a program on a terminal of its own: a private tmux server holds
// it, so nothing needs a display.
type Terminal struct {
	Sock string // for `tmux -S SOCK attach`

	lab *Lab
}

// terminal runs a command on a terminal of the given size. It ends with the
// test, or when its tmux server does.
func (l *Lab) terminal(name string, width, height int, env []string, command ...string) *Terminal {
	l.Helper()
	dir := l.folder("tmux-" + name)
	t := &Terminal{Sock: filepath.Join(dir, "s"), lab: l}
	l.write(filepath.Join(dir, "conf"), "set -g status off\nset -g history-limit 20000\nset -s escape-time 0\nset -s exit-empty off\n")
	l.Start(&Proc{Name: "tmux-" + name, Dir: dir, Args: []string{l.program("tmux"), "-S", t.Sock, "-f", filepath.Join(dir, "conf"), "-u", "-D"}})
	l.Await(10*time.Second, "tmux takes commands", func() bool {
		return exec.Command(l.program("tmux"), "-S", t.Sock, "show", "-s").Run() == nil
	})
	args := []string{"new-session", "-d", "-s", "t", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "-c", dir, "env", "-u", "TMUX", "LC_ALL=C.UTF-8", "TERM=screen-256color"}
	t.tmux(append(append(args, env...), command...)...)
	return t
}

func (t *Terminal) tmux(args ...string) string {
	t.lab.Helper()
	return t.lab.run(t.lab.program("tmux"), append([]string{"-S", t.Sock, "-u"}, args...)...)
}

// Type types one line and Enter.
func (t *Terminal) Type(line string) {
	t.lab.Helper()
	// tmux takes an argument that ends in a semicolon apart.
	if rest, ok := strings.CutSuffix(line, ";"); ok {
		line = rest + `\;`
	}
	for len(line) > 0 {
		n := min(len(line), 1000)
		for n < len(line) && line[n]&0xC0 == 0x80 { // not inside a character
			n--
		}
		t.tmux("send-keys", "-t", "t", "-l", "--", line[:n])
		line = line[n:]
	}
	t.tmux("send-keys", "-t", "t", "Enter")
}

// Keys presses keys by their tmux names, such as "M-2".
func (t *Terminal) Keys(keys ...string) {
	t.lab.Helper()
	t.tmux(append([]string{"send-keys", "-t", "t"}, keys...)...)
}

// Kill ends the program at once (SIGKILL).
func (t *Terminal) Kill() {
	t.lab.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(t.tmux("display-message", "-p", "-t", "t", "#{pane_pid}")))
	t.lab.must(err)
	t.lab.must(syscall.Kill(pid, syscall.SIGKILL))
}

// Screen returns what the terminal shows.
func (t *Terminal) Screen() string {
	t.lab.Helper()
	return t.tmux("capture-pane", "-p", "-J", "-t", "t")
}

// Expect waits for up to three minutes until the screen shows text.
func (t *Terminal) Expect(text string) {
	t.lab.Helper()
	var screen string
	if !Poll(patience, func() bool { screen = t.Screen(); return strings.Contains(screen, text) }) {
		t.lab.Fatalf("lab: the screen never showed %q:\n%s", text, strings.TrimSpace(screen))
	}
}
