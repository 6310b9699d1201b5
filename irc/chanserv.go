package irc

import "strings"

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

func firstWord(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return ""
	}
	return strings.Clone(f[0])
}
