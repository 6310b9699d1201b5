package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Mcabber is a running mcabber 1.1, driven through its FIFO.
type Mcabber struct {
	*Terminal
	JID string // bare

	lab  *Lab
	home string
}

// McabberUser tells who uses an mcabber.
type McabberUser struct {
	Name string
	GPG  *GPG   // nil for none
	Key  string // fingerprint of the own key
	// OTR is the own key, a file of libotr; nil for none.
	OTR []byte
	// Pinned are the keys of contacts, by JID: mcabber then never sends to them
	// in clear.
	Pinned map[string]string
}

// Mcabber starts mcabber, logs it in and waits until it is online.
func (l *Lab) Mcabber(s *XMPPServer, o McabberUser) *Mcabber {
	l.Helper()
	home := l.folder("mcabber-" + o.Name)
	m := &Mcabber{JID: o.Name + "@" + Domain, lab: l, home: home}
	host, port, _ := strings.Cut(s.Addr, ":")
	rc := []string{
		"set jid = " + m.JID, "set password = " + Password, "set server = " + host, "set port = " + port, "set resource = mca",
		"set disable_random_resource = 1", "set tls = 1", "set ssl_ignore_checks = 1",
		"set logging = 1", "set logging_dir = " + home + "/log/", "set load_logs = 0", "set tracelog_level = 2", "set tracelog_file = " + home + "/trace",
		"set fifo_name = " + m.fifo(), "module load fifo", "set autoaway = 0", "set pinginterval = 0", "set beep_on_message = 0",
	}
	if o.GPG != nil {
		rc = append(rc, "set pgp = 1", "set gpg_home = "+o.GPG.Home, "set pgp_private_key = "+o.Key[len(o.Key)-16:])
		for jid, fpr := range o.Pinned {
			rc = append(rc, "pgp setkey "+jid+" "+fpr[len(fpr)-16:], "pgp force "+jid)
		}
	}
	if o.OTR != nil {
		l.write(filepath.Join(home, "otr", m.JID+".key"), string(o.OTR))
		rc = append(rc, "set otr = 1", "set otr_dir = "+home+"/otr/", "otrpolicy default manual")
	} else {
		rc = append(rc, "set otr = 0")
	}
	l.must(os.MkdirAll(filepath.Join(home, "log"), 0o700))
	l.write(filepath.Join(home, "rc"), strings.Join(rc, "\n")+"\n")
	env := []string{"HOME=" + home}
	if o.GPG != nil {
		env = append(env, o.GPG.env()...)
	}
	m.Terminal = l.terminal(o.Name, 240, 60, env, l.program("mcabber"), "-f", filepath.Join(home, "rc"))
	if !Poll(patience, m.online) {
		l.Fatalf("lab: mcabber of %s is not online:\n%s\n%s", o.Name, strings.TrimSpace(m.Screen()), m.Raw())
	}
	return m
}

func (m *Mcabber) online() bool {
	st, err := os.Stat(m.fifo())
	return err == nil && st.Mode()&os.ModeNamedPipe != 0 && strings.Contains(m.Raw(), "Your status has been set")
}

func (m *Mcabber) fifo() string { return filepath.Join(m.home, "fifo") }

// Do gives mcabber one of its commands.
func (m *Mcabber) Do(command string) {
	m.lab.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var f *os.File
	for {
		// Without O_NONBLOCK the open waits for a reader for ever.
		fd, err := syscall.Open(m.fifo(), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err == nil {
			f = os.NewFile(uintptr(fd), m.fifo())
			break
		}
		if ctx.Err() != nil {
			m.lab.Fatalf("lab: mcabber does not read its FIFO: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := f.WriteString(command + "\n")
	_ = f.Close()
	m.lab.must(err)
}

// Say says one line to a contact.
func (m *Mcabber) Say(jid, text string) {
	m.lab.Helper()
	m.Do("say_to " + jid + " " + text)
}

// Sees waits until a contact is online: before, mcabber refuses commands for it.
func (m *Mcabber) Sees(jid string) {
	m.lab.Helper()
	m.lab.Await(patience, "mcabber sees "+jid, func() bool {
		return strings.Contains(m.Raw(), `New message with type="presence" from: `+jid+"/")
	})
}

// Chat returns the lines of the chat with a contact, from mcabber's own log,
// decrypted. Each entry there is "MR date nnn text": received, with nnn further
// lines.
func (m *Mcabber) Chat(jid string) []Said1to1 {
	m.lab.Helper()
	b, err := os.ReadFile(filepath.Join(m.home, "log", jid))
	if os.IsNotExist(err) {
		return nil
	}
	m.lab.must(err)
	var out []Said1to1
	lines := strings.Split(string(b), "\n")
	for i := 0; i < len(lines); i++ {
		f := strings.SplitN(lines[i], " ", 4)
		if len(f) < 4 || f[0] != "MR" && f[0] != "MS" {
			continue
		}
		more, err := strconv.Atoi(f[2])
		if err != nil || i+more >= len(lines) {
			m.lab.Fatalf("lab: mcabber's log has %q", lines[i])
		}
		text := strings.Join(append([]string{f[3]}, lines[i+1:i+1+more]...), "\n")
		i += more
		out = append(out, Said1to1{f[0] == "MS", text})
	}
	return out
}

// Heard returns what the contact said, in order.
func (m *Mcabber) Heard(jid string) []string {
	m.lab.Helper()
	return theirs(m.Chat(jid))
}

// Raw returns what mcabber tells of its connection.
func (m *Mcabber) Raw() string {
	b, _ := os.ReadFile(filepath.Join(m.home, "trace"))
	return string(b)
}

// String names the client in failures.
func (m *Mcabber) String() string { return fmt.Sprintf("mcabber of %s", m.JID) }

// Shows opens the chat with a contact, whom part of their address names, and waits
// until its window shows text.
func (m *Mcabber) Shows(contact, text string) {
	m.lab.Helper()
	m.lab.Await(patience, "mcabber shows "+text, func() bool {
		if strings.Contains(m.Screen(), text) {
			return true
		}
		m.Do("roster search " + contact)
		m.Keys("Enter") // the window opens with the first key
		return false
	})
}
