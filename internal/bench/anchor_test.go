//go:build anchor

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/internal/dialer"
	"drawbridge/internal/lab"
)

// A guard under test is started against a server, and removes whose nick begins with x.
type guardian struct {
	name  string
	start func(t *testing.T, l *lab.Lab, s *lab.IRCServer)
}

var guardians = []guardian{
	{"drawbridge, kick", func(t *testing.T, l *lab.Lab, s *lab.IRCServer) { startDrawbridge(t, l, s, "kick") }},
	{"drawbridge, ban and kick", func(t *testing.T, l *lab.Lab, s *lab.IRCServer) { startDrawbridge(t, l, s, "ban") }},
	{"eggdrop 1.8.4, ban and kick", startEggdrop},
}

// TestAnchorGuard has the same intruders come to Drawbridge's guard and to eggdrop's,
// one by one, and prints how long after its JOIN a third client sees the ban and the
// kick of each, theirs beside ours at the end. It needs inspircd and eggdrop 1.8.4, takes
// about five minutes, most of them eggdrop's, and judges nothing.
func TestAnchorGuard(t *testing.T) {
	var all []string
	for _, server := range []struct {
		name  string
		conf  lab.InspIRCd
		n     int
		rest  time.Duration // until what it costs to connect has been paid
		pause time.Duration
	}{
		{"no limits", lab.InspIRCd{Fast: true}, 16, 5 * time.Second, 200 * time.Millisecond},
		{"stock limits", lab.InspIRCd{}, 8, 15 * time.Second, 4 * time.Second},
	} {
		for _, g := range guardians {
			t.Run(server.name+"/"+g.name, func(t *testing.T) {
				l := lab.New(t)
				s := l.InspIRCd(server.conf)
				g.start(t, l, s)
				clock := watchClock(t, s)
				l.Await(time.Minute, "the guard holds op", func() bool {
					_, op := clock.at("op")
					return op
				})
				time.Sleep(server.rest)
				for i, u := range l.IRCCrowd(s, "x", server.n) {
					u.Send("JOIN #lobby")
					l.Await(time.Minute, u.Nick+" is gone", func() bool {
						_, gone := clock.at(fmt.Sprint("kick x", i))
						return gone
					})
					time.Sleep(server.pause)
				}
				for _, line := range clock.print(t, server.n) {
					all = append(all, server.name+", "+g.name+": "+line)
				}
			})
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("load %s\n%s", strings.TrimSpace(string(load)), strings.Join(all, "\n"))
}

// TestAnchorFirstKick: an intruder is at the door as the guard connects to a server that
// slows it down, and makes it pay for its own arrival.
func TestAnchorFirstKick(t *testing.T) {
	for _, services := range []bool{false, true} {
		for _, g := range guardians {
			t.Run(fmt.Sprintf("services %v/%s", services, g.name), func(t *testing.T) {
				for range 3 {
					l := lab.New(t)
					s := l.InspIRCd(lab.InspIRCd{Services: services})
					clock := watchClock(t, s)
					x := l.IRCCrowd(s, "x", 1)[0]
					g.start(t, l, s)
					l.Await(time.Minute, "the guard holds op", func() bool {
						_, op := clock.at("op")
						return op
					})
					x.Send("JOIN #lobby")
					l.Await(time.Minute, "it is gone", func() bool {
						_, gone := clock.at("kick x0")
						return gone
					})
					clock.print(t, 1)
				}
			})
		}
	}
}

func startDrawbridge(t *testing.T, l *lab.Lab, s *lab.IRCServer, effect string) {
	t.Helper()
	startDrawbridgeAt(t, l, s, effect, true)
}

func startDrawbridgeAt(t *testing.T, l *lab.Lab, s *lab.IRCServer, effect string, secure bool) {
	t.Helper()
	server := fmt.Sprintf("server: \"localhost%s\", ca_file: %q", s.TLSAddr[strings.LastIndexByte(s.TLSAddr, ':'):], l.CA.File)
	if !secure {
		server = fmt.Sprintf("server: %q, tls: off", s.Addr)
	}
	dir := filepath.Join(l.Dir, "bot")
	program := filepath.Join(dir, "drawbridge")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", program, "drawbridge/cmd/drawbridge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	conf := fmt.Sprintf(`
networks:
  corp: {%s, nick: guard}
store: {path: store}
rooms:
  lobby: {irc: {network: corp, channel: "#lobby"}, default: allow, dry_run: false}
rules:
  - {id: no-x, rooms: [lobby], do: join, who: {hosts: ["x*!*@*"]}, effect: %s, reason: "Not here"}
`, server, effect)
	if err := os.WriteFile(filepath.Join(dir, "drawbridge.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Start(&lab.Proc{Name: "drawbridge", Dir: dir, Args: []string{program, "run", "--config", filepath.Join(dir, "drawbridge.yaml")}})
}

// startEggdrop gives each intruder an entry of eggdrop's own ban list. It does not run
// as root.
func startEggdrop(t *testing.T, l *lab.Lab, s *lab.IRCServer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "eggdrop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`set nick "guard"
set altnick "guard?"
set username "guard"
set realname "guard"
set admin "nobody"
set network "lab"
set timezone "UTC"
set offset "0"
set userfile "guard.user"
set pidfile "guard.pid"
set help-path "/usr/share/eggdrop/help/"
set text-path "/usr/share/eggdrop/text/"
set temp-path "%[1]s"
set mod-path "/usr/lib/eggdrop/modules/"
set net-type 5
loadmodule blowfish
loadmodule dns
loadmodule channels
loadmodule server
loadmodule ctcp
loadmodule irc
set chanfile "guard.chan"
set servers {%[2]s}
channel add #lobby {+enforcebans +dynamicbans flood-join 0:0 flood-ctcp 0:0 flood-chan 0:0 flood-deop 0:0 flood-kick 0:0 flood-nick 0:0}
for {set i 0} {$i < 100} {incr i} { newchanban #lobby "x$i!*@*" guard "Not here" 0 }
`, dir, s.Addr)
	if err := os.WriteFile(filepath.Join(dir, "guard.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"eggdrop", "-n", "-m", "guard.conf"}
	if os.Geteuid() == 0 {
		args = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, args...)
	}
	l.Start(&lab.Proc{Name: "eggdrop", Dir: dir, Args: args})
}

// clock is a third client, which notes when the lines of #lobby come.
type clock struct {
	mu   sync.Mutex // guards seen
	seen map[string]time.Time
}

func watchClock(t *testing.T, s *lab.IRCServer) *clock {
	t.Helper()
	conn, err := dialer.TCP(context.Background(), nil, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{seen: map[string]time.Time{}}
	done := make(chan struct{})
	go func() { defer close(done); c.read(conn) }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	_, _ = fmt.Fprintf(conn, "NICK clock\r\nUSER clock 0 * :clock\r\n")
	return c
}

func (c *clock) read(conn net.Conn) {
	r := bufio.NewReader(conn)
	holds := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		now := time.Now()
		f := strings.Fields(line)
		if f[0] == "PING" {
			_, _ = fmt.Fprintf(conn, "PONG %s\r\n", f[1])
			continue
		}
		nick, _, _ := strings.Cut(strings.TrimPrefix(f[0], ":"), "!")
		switch f[1] {
		case "001": // wait until the guard has made the channel, and holds op in it
			_, _ = fmt.Fprintf(conn, "MONITOR + guard\r\n")
		case "730":
			time.Sleep(60 * time.Millisecond)
			_, _ = fmt.Fprintf(conn, "JOIN #lobby\r\n")
		case "353":
			holds = holds || strings.Contains(line, "@guard")
		case "366":
			if holds {
				c.note("op", now)
				continue
			}
			_, _ = fmt.Fprintf(conn, "PART #lobby\r\n") // we were the first
			time.Sleep(4 * time.Second)                 // the server slows us, too
			_, _ = fmt.Fprintf(conn, "JOIN #lobby\r\n")
		case "JOIN":
			c.note("join "+nick, now)
		case "KICK":
			c.note("kick "+strings.TrimPrefix(f[3], ":"), now)
		case "MODE":
			for _, mask := range f[4:] {
				mask = strings.TrimPrefix(mask, ":")
				who, rest, _ := strings.Cut(mask, "!")
				if user, _, _ := strings.Cut(rest, "@"); who == "*" {
					who = user
				}
				c.note("ban "+who, now)
			}
		}
	}
}

func (c *clock) note(what string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.seen[what]; !known {
		c.seen[what] = at
	}
}

func (c *clock) at(what string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.seen[what]
	return at, known
}

// print logs how long after the joins the bans and kicks came, and returns it.
func (c *clock) print(t *testing.T, n int) (lines []string) {
	t.Helper()
	for _, what := range []string{"ban", "kick"} {
		var took []time.Duration
		for i := range n {
			joined, _ := c.at(fmt.Sprint("join x", i))
			if at, seen := c.at(fmt.Sprintf("%s x%d", what, i)); seen {
				took = append(took, at.Sub(joined).Round(10*time.Microsecond))
			}
		}
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		lines = append(lines, fmt.Sprintf("JOIN to %s, %d: p50 %s, p95 %s, max %s", strings.ToUpper(what), len(took), took[len(took)/2], took[len(took)*95/100], took[len(took)-1]))
		t.Log(lines[len(lines)-1])
	}
	return lines
}
