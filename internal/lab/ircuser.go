package lab

import (
	"bufio"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// IRCUser is a person on IRC: a raw client without capabilities (unless the test
// sends CAP itself) that answers PING and keeps every line it receives.
type IRCUser struct {
	Nick string

	lab  *Lab
	conn net.Conn
	wmu  sync.Mutex // guards writes to conn

	mu    sync.Mutex // guards lines and ended
	lines []string
	ended bool
	done  chan struct{}
}

// IRCUser connects a person without TLS, and joins the channels.
func (l *Lab) IRCUser(s *IRCServer, nick string, channels ...string) *IRCUser {
	l.Helper()
	c, err := net.DialTimeout("tcp", s.Addr, 5*time.Second)
	l.must(err)
	return l.ircUser(c, nick, channels)
}

// IRCUserTLS connects a person with TLS, and with a certificate if one is given.
func (l *Lab) IRCUserTLS(s *IRCServer, nick string, cert *Cert, channels ...string) *IRCUser {
	l.Helper()
	conf := l.CA.TLS("localhost")
	if cert != nil {
		pair, err := cert.Pair()
		l.must(err)
		conf.Certificates = []tls.Certificate{pair}
	}
	c, err := tls.Dial("tcp", s.TLSAddr, conf)
	l.must(err)
	return l.ircUser(c, nick, channels)
}

// IRCUsers connects people without TLS at once. An InspIRCd lets them in together, in its
// next second; one after the other they cost a second each.
func (l *Lab) IRCUsers(s *IRCServer, nicks ...string) []*IRCUser {
	l.Helper()
	out := make([]*IRCUser, len(nicks))
	for i, nick := range nicks {
		c, err := net.DialTimeout("tcp", s.Addr, 5*time.Second)
		l.must(err)
		out[i] = l.introduce(c, nick)
	}
	for _, u := range out {
		u.Expect(" 001 ")
	}
	return out
}

// IRCCrowd connects n people at once, as IRCUsers does; their nicks are nick0, nick1 …
func (l *Lab) IRCCrowd(s *IRCServer, nick string, n int) []*IRCUser {
	l.Helper()
	nicks := make([]string, n)
	for i := range nicks {
		nicks[i] = nick + strconv.Itoa(i)
	}
	return l.IRCUsers(s, nicks...)
}

func (l *Lab) ircUser(c net.Conn, nick string, channels []string) *IRCUser {
	l.Helper()
	u := l.introduce(c, nick)
	u.Expect(" 001 ")
	for _, ch := range channels {
		u.Join(ch)
	}
	return u
}

func (l *Lab) introduce(c net.Conn, nick string) *IRCUser {
	u := &IRCUser{Nick: nick, lab: l, conn: c, done: make(chan struct{})}
	go u.read()
	l.Cleanup(u.Quit)
	u.Send("NICK " + nick)
	u.Send("USER " + nick + " 0 * :" + nick)
	return u
}

func (u *IRCUser) read() {
	defer close(u.done)
	r := bufio.NewReaderSize(u.conn, 64<<10)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			u.mu.Lock()
			u.ended = true
			u.mu.Unlock()
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if arg, ok := strings.CutPrefix(line, "PING "); ok {
			u.Send("PONG " + arg)
			continue
		}
		u.mu.Lock()
		u.lines = append(u.lines, line)
		u.mu.Unlock()
	}
}

// Send writes one raw line.
func (u *IRCUser) Send(line string) {
	u.wmu.Lock()
	defer u.wmu.Unlock()
	_ = u.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = u.conn.Write([]byte(line + "\r\n")) // an error shows as a line that never comes
}

// Join joins a channel, given with its key if it has one, and waits for it.
func (u *IRCUser) Join(channel string) {
	u.lab.Helper()
	u.Send("JOIN " + channel)
	name, _, _ := strings.Cut(channel, " ")
	u.Expect(" 366 " + u.Nick + " " + name)
}

// Say says text in a channel.
func (u *IRCUser) Say(channel, text string) { u.Send("PRIVMSG " + channel + " :" + text) }

// Quit leaves and waits until the connection has ended.
func (u *IRCUser) Quit() {
	u.Send("QUIT :bye")
	select {
	case <-u.done:
	case <-time.After(2 * time.Second):
	}
	_ = u.conn.Close()
	<-u.done
}

// Gone reports whether the server has closed the connection.
func (u *IRCUser) Gone() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.ended
}

// Lines returns every line received so far.
func (u *IRCUser) Lines() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.lines...)
}

// Find waits up to d for a line, among those already received too.
func (u *IRCUser) Find(d time.Duration, match func(line string) bool) (string, bool) {
	n, found := 0, ""
	ok := Poll(d, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		for ; n < len(u.lines); n++ {
			if match(u.lines[n]) {
				found = u.lines[n]
				return true
			}
		}
		return false
	})
	return found, ok
}

// Expect waits for up to three minutes for a line that contains part.
func (u *IRCUser) Expect(part string) string {
	u.lab.Helper()
	line, ok := u.Find(patience, func(l string) bool { return strings.Contains(l, part) })
	if !ok {
		u.lab.Fatalf("lab: %s on IRC never saw %q; it saw:\n%s", u.Nick, part, strings.Join(u.Lines(), "\n"))
	}
	return line
}

// Said is one message that a user saw in a channel.
type Said struct{ From, Where, Text string }

// Heard returns what others said in a channel, in the order of arrival.
func (u *IRCUser) Heard(channel string) []Said {
	var out []Said
	for _, l := range u.Lines() {
		if strings.HasPrefix(l, "@") {
			_, l, _ = strings.Cut(l, " ")
		}
		src, rest, _ := strings.Cut(strings.TrimPrefix(l, ":"), " ")
		cmd, rest, _ := strings.Cut(rest, " ")
		target, text, ok := strings.Cut(rest, " :")
		if !ok || cmd != "PRIVMSG" && cmd != "NOTICE" || !strings.EqualFold(target, channel) {
			continue
		}
		nick, _, _ := strings.Cut(src, "!")
		out = append(out, Said{nick, target, text})
	}
	return out
}
