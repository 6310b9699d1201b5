package irc

import (
	"strings"

	"github.com/ergochat/irc-go/ircmsg"
)

// maxAccess bounds the entries of a channel's access list that are kept.
const maxAccess = 2000

// keptByServices is what Atheme's ChanServ keeps of a channel, as its answers to INFO
// and FLAGS tell. The zero value but for name has heard nothing.
type keptByServices struct {
	name                string // of the channel
	mlock               string
	topicLock           bool
	access              map[string]string // account or mask → flags
	hidden              bool              // there is a list, and we may not see it
	infoDone, flagsDone bool
}

// done reports whether both answers came to their ends.
func (k *keptByServices) done() bool { return k.infoDone && k.flagsDone }

// line takes one line of ChanServ in. Texts are Atheme 7.2's, in English.
func (k *keptByServices) line(text string) {
	text = strings.TrimSpace(stripFormat(text))
	switch {
	case strings.HasPrefix(text, "*** End of Info"):
		k.infoDone = true
		return
	case strings.HasPrefix(text, "End of ") && strings.HasSuffix(text, "FLAGS listing."):
		k.flagsDone = true
		return
	case strings.HasPrefix(text, "Invalid command"): // asked twice, answered twice
		k.flagsDone = k.infoDone
		k.infoDone = true
		return
	case strings.HasSuffix(text, "is not registered."), strings.HasPrefix(text, "Channel "+k.name+" is not registered"):
		k.infoDone, k.flagsDone = true, true
		return
	case strings.Contains(text, "not authorized"), strings.Contains(text, "You are not "):
		k.flagsDone, k.hidden = true, true
		return
	}
	if key, value, ok := strings.Cut(text, ":"); ok {
		switch strings.TrimSpace(key) {
		case "Mode lock":
			k.mlock = firstWord(value)
			return
		case "Flags":
			for word := range strings.FieldsSeq(value) {
				k.topicLock = k.topicLock || word == "TOPICLOCK"
			}
			return
		}
	}
	k.entry(strings.Fields(text))
}

// entry reads a line of FLAGS: number, account or mask, flags.
func (k *keptByServices) entry(f []string) {
	if len(f) < 3 || strings.Trim(f[0], "0123456789") != "" || f[2][0] != '+' || len(k.access) >= maxAccess {
		return
	}
	if k.access == nil {
		k.access = map[string]string{}
	}
	k.access[strings.Clone(f[1])] = strings.Clone(f[2][1:])
}

// entryMsg is what ChanServ says to who comes into a channel, as far as it is known. No
// command of Atheme's shows it: it is told to who comes in, and answered to who sets it.
type entryMsg struct {
	told bool
	text string
	host string // of who told it, to be compared with that of services; "": surely them
	// quiet: services were there as we came in, so who heard nothing knows that there is
	// nothing.
	quiet bool
}

// entered begins to listen for the entry message of a channel that we came into.
func (s *session) entered(c *channel) {
	c.entry = entryMsg{quiet: s.reg.loggedIn && s.services.state != servicesDown && s.services.state != servicesBack}
}

// greeted takes in what ChanServ tells of an entry message.
func (s *session) greeted(m *ircmsg.Message) {
	if m.Command != "NOTICE" || len(m.Params) < 2 || !s.isMe(m.Params[0]) || !strings.EqualFold(sourceNick(m), chanServ) {
		return
	}
	nuh, err := ircmsg.ParseNUH(m.Source)
	if err != nil {
		return
	}
	sure, text := s.isService(m), m.Params[1]
	if name, said, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(name, "[") {
		c := s.channel(stripFormat(name[1:]))
		switch {
		case c == nil || !c.joined:
		case sure:
			c.entry.told, c.entry.text, c.entry.host = true, strings.Clone(said), ""
		case !c.entry.told || c.entry.host != "":
			c.entry.told, c.entry.text, c.entry.host = true, strings.Clone(said), nuh.Host
		}
		return
	}
	rest, ok := strings.CutPrefix(stripFormat(text), "The entry message for ")
	name, what, _ := strings.Cut(rest, " ")
	c := s.channel(name)
	if !ok || !sure || c == nil || !c.joined {
		return
	}
	set, isSet := strings.CutPrefix(what, "has been set to ")
	switch {
	case isSet:
		c.entry.told, c.entry.text, c.entry.host = true, strings.Clone(set), ""
	case strings.HasPrefix(what, "has been cleared"), strings.HasPrefix(what, "was not set"):
		c.entry.told, c.entry.text, c.entry.host = true, "", ""
	}
}

// entryMsg is what is known of a channel's entry message, once ChanServ has answered
// about the channel; nil: nothing.
func (s *session) entryMsg(c *channel, answered bool) *string {
	e := &c.entry
	if e.told && e.host != "" && e.host == s.services.host {
		e.host = ""
	}
	switch text := e.text; {
	case e.told && e.host == "":
		return &text
	case answered && e.quiet && !e.told:
		return new(string)
	}
	return nil
}

func firstWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return strings.Clone(f[0])
}
