// Package irctest plays the server of an IRC conversation from a transcript, over
// net.Pipe. A transcript is what a wire trace of the conversation would show:
//
//	# a remark
//	S: :irc.test 001 bot :Welcome       sent by the server
//	C: JOIN #dev                        expected from the client
//	C: PING ${fence}                    any one word, remembered under that name
//	S: :irc.test PONG irc.test :${fence}
//	> send m1 #dev hello                told to the test, which does it
//	< delivered m1                      expected of the test's own record
//	I: join.inc                         another transcript, beside this one
//	X:                                  the server closes the connection
//
// In lines of either side \xHH stands for a byte, and * in a C line for the
// rest of the line. PINGs that keep an idle connection alive are not special: a
// transcript shows them.
package irctest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// TB is the part of testing.TB that a Server needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Timeout is how long the server waits for each line it expects: a machine may be
// busy elsewhere.
const Timeout = time.Minute

// Server is the far side of a connection.
type Server struct {
	tb    TB
	conn  net.Conn
	lines chan string
	vars  map[string]string
}

// NewServer returns a server and the client's end of the connection to it.
func NewServer(tb TB) (*Server, net.Conn) {
	near, far := net.Pipe()
	s := &Server{tb: tb, conn: far, lines: make(chan string, 4096), vars: map[string]string{}}
	go s.read()
	return s, near
}

// read keeps the client from ever waiting for us; it ends with the connection.
func (s *Server) read() {
	defer close(s.lines)
	r := bufio.NewReader(s.conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		s.lines <- strings.TrimRight(line, "\r\n")
	}
}

// Close ends the connection.
func (s *Server) Close() { _ = s.conn.Close() }

// Send sends one line.
func (s *Server) Send(line string) {
	s.tb.Helper()
	if err := s.conn.SetWriteDeadline(time.Now().Add(Timeout)); err == nil {
		if _, err = s.conn.Write([]byte(line + "\r\n")); err != nil {
			s.tb.Fatalf("irctest: sending %q: %v", line, err)
		}
	}
}

// Next returns the client's next line, false when the connection has ended or
// nothing came in time.
func (s *Server) Next() (string, bool) {
	select {
	case line, ok := <-s.lines:
		return line, ok
	case <-time.After(Timeout):
		return "", false
	}
}

// Pending returns a line that has come already, if there is one.
func (s *Server) Pending() (string, bool) {
	select {
	case line, ok := <-s.lines:
		return line, ok
	default:
		return "", false
	}
}

// Hooks are what a transcript asks of the test.
type Hooks struct {
	Do func(words string) // a line after ">"
	// Next returns the test's next record, to be held against a line after "<".
	Next func() (string, bool)
}

// Play plays the transcript in the file.
func (s *Server) Play(file string, h Hooks) {
	s.tb.Helper()
	s.play(file, h)
}

func (s *Server) play(file string, h Hooks) bool {
	s.tb.Helper()
	script, err := os.ReadFile(file)
	if err != nil {
		s.tb.Fatalf("irctest: %v", err)
		return false
	}
	for n, line := range strings.Split(string(script), "\n") {
		if !s.step(fmt.Sprintf("%s:%d", file, n+1), strings.TrimSuffix(line, "\r"), h) {
			return false
		}
	}
	return true
}

func (s *Server) step(at, line string, h Hooks) bool {
	s.tb.Helper()
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "", "#":
	case "S:":
		s.Send(unescape(s.expand(rest)))
	case "C:":
		got, ok := s.Next()
		if !ok {
			s.tb.Fatalf("%s: the client did not say %q", at, rest)
			return false
		}
		if !s.match(rest, got) {
			s.tb.Fatalf("%s:\n want %q\n  got %q", at, s.expand(rest), got)
			return false
		}
	case "X:":
		s.Close()
	case "I:":
		return s.play(filepath.Join(filepath.Dir(strings.SplitN(at, ":", 2)[0]), rest), h)
	case ">":
		h.Do(unescape(rest))
	case "<":
		if got, ok := h.Next(); !ok || got != unescape(s.expand(rest)) {
			s.tb.Fatalf("%s:\n want %q\n  got %q", at, unescape(s.expand(rest)), got)
			return false
		}
	default:
		s.tb.Fatalf("%s: not a transcript line: %q", at, line)
		return false
	}
	return true
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

// expand puts remembered words in place.
func (s *Server) expand(line string) string {
	return variable.ReplaceAllStringFunc(line, func(v string) string {
		if word, ok := s.vars[v[2:len(v)-1]]; ok {
			return word
		}
		return v
	})
}

// match compares a line with its pattern, and remembers the words of variables
// met for the first time.
func (s *Server) match(pattern, got string) bool {
	var re strings.Builder
	re.WriteString("^")
	names := []string{}
	rest := s.expand(pattern)
	for rest != "" {
		loc := variable.FindStringIndex(rest)
		text := rest
		if loc != nil {
			text = rest[:loc[0]]
		}
		head, isAny := strings.CutSuffix(text, "*")
		if loc == nil && isAny {
			re.WriteString(regexp.QuoteMeta(unescape(head)) + ".*")
			break
		}
		re.WriteString(regexp.QuoteMeta(unescape(text)))
		if loc == nil {
			break
		}
		names = append(names, rest[loc[0]+2:loc[1]-1])
		re.WriteString(`([^ ;]+)`)
		rest = rest[loc[1]:]
	}
	re.WriteString("$")
	m := regexp.MustCompile(re.String()).FindStringSubmatch(got)
	for i, name := range names {
		if m != nil {
			s.vars[name] = m[i+1]
		}
	}
	return m != nil
}

// unescape resolves \xHH.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+3 < len(s) && s[i] == '\\' && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
