package irc

import (
	"strings"
	"time"

	"github.com/ergochat/irc-go/ircmsg"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// markTag is the client-only tag that carries Outgoing.ID, so that another
// Drawbridge in the channel knows a relayed line.
const markTag = "+drawbridge/id"

const (
	whoxToken  = "801"
	maxBatches = 32
	maxBody    = 400 // bytes of a PING given back
	maxDetail  = 200 // bytes of foreign text in details, errors and notes
)

// batch is an open BATCH.
type batch struct {
	kind, label, parent string
	target              string // of a history
	end                 bool   // of a history: there is no more
}

// history reports whether b holds what was said before.
func (b *batch) history() bool { return b.kind == "chathistory" || b.kind == "znc.in/playback" }

// commands says who handles what; numerics of refusal not named here are
// handled by onError.
var commands = map[string]func(*session, *ircmsg.Message){
	"PING":         func(s *session, m *ircmsg.Message) { s.win.raw("PONG :" + firstPiece(oneLine(param(m, -1)), maxBody)) },
	"PONG":         (*session).onPong,
	"ERROR":        (*session).onServerError,
	"CAP":          (*session).onCap,
	"AUTHENTICATE": (*session).onAuthenticate,
	"PRIVMSG":      (*session).onMessage,
	"NOTICE":       (*session).onMessage,
	"TAGMSG":       (*session).onTagmsg,
	"JOIN":         (*session).onJoin,
	"PART":         (*session).onPart,
	"KICK":         (*session).onKick,
	"QUIT":         (*session).onQuit,
	"NICK":         (*session).onNick,
	"MODE":         (*session).onMode,
	"TOPIC":        (*session).onTopic,
	"INVITE":       (*session).onInvite,
	"ACCOUNT":      (*session).onAccount,
	"AWAY":         (*session).onAway,
	"CHGHOST":      (*session).onChghost,
	"SETNAME":      (*session).onSetname,
	"BATCH":        (*session).onBatch,
	"ACK":          (*session).onAck,
	"FAIL":         (*session).onFail,

	"001": (*session).onWelcome,
	"004": func(s *session, m *ircmsg.Message) { s.isupport.software = policy.ParseSoftware(param(m, 2)) },
	"005": (*session).onISupport,
	"275": (*session).onWhoisSecure, // ngIRCd's 671
	"276": (*session).onWhoisCert,
	"303": (*session).onIson,
	"311": (*session).onWhoisUser,
	"310": (*session).onWhoisOper,
	"312": (*session).onWhoisServer,
	"313": (*session).onWhoisOper,
	"318": (*session).onWhoisEnd,
	"324": (*session).onChannelModes,
	"329": (*session).onCreated,
	"330": (*session).onWhoisAccount,
	"331": (*session).onNoTopic,
	"332": (*session).onTopicIs,
	"333": (*session).onTopicBy,
	"346": (*session).onList,
	"347": (*session).onList,
	"348": (*session).onList,
	"349": (*session).onList,
	"352": (*session).onWho,
	"353": (*session).onNames,
	"354": (*session).onWhox,
	"366": (*session).onNamesEnd,
	"367": (*session).onList,
	"368": (*session).onList,
	"376": (*session).onMotdEnd,
	"396": (*session).onOwnHost,
	"421": (*session).onUnknown,
	"422": (*session).onMotdEnd,
	"432": (*session).onNickRefused,
	"433": (*session).onNickRefused,
	"436": (*session).onNickRefused,
	"437": (*session).onUnavailable,
	"465": (*session).onBanned,
	"451": (*session).onUnknown,
	"464": (*session).onBanned,
	"671": (*session).onWhoisSecure,
	"710": (*session).onKnock,
	"728": (*session).onList,
	"729": (*session).onList,
	"730": (*session).onMonOnline,
	"731": (*session).onMonOffline,
	"900": func(*session, *ircmsg.Message) {},
	"901": (*session).onLoggedOut,
	"902": (*session).onSASL,
	"903": (*session).onSASL,
	"904": (*session).onSASL,
	"905": (*session).onSASL,
	"906": (*session).onSASL,
	"907": (*session).onSASL,
	"908": (*session).onSASL,
}

// handle takes one line in. The caller holds mu.
func (s *session) handle(line []byte) {
	m, err := parseLine(line)
	if err != nil {
		if len(line) > 0 {
			s.bad++
		}
		return
	}
	h := commands[m.Command]
	if h != nil {
		h(s, &m)
	} else if len(m.Command) == 3 && (m.Command[0] == '4' || m.Command[0] == '5' || m.Command[0] == '6' || m.Command[0] == '7' || m.Command[0] == '9' || m.Command == "263") {
		s.onError(&m)
	}
	if l := tag(&m, "label"); (strings.HasPrefix(l, orderLabel) || strings.HasPrefix(l, commandLabel)) && m.Command != "BATCH" {
		s.win.labelled(l, "", nil) // the answer; a batch of lines ends it by itself
	}
	for _, then := range s.win.answered() {
		then()
	}
}

func (s *session) onPong(m *ircmsg.Message) {
	then, ok := s.win.pong(param(m, -1))
	if ok {
		for _, f := range then {
			f()
		}
	}
}

// onServerError handles ERROR, the last line of a connection.
func (s *session) onServerError(m *ircmsg.Message) {
	if s.bye.IsZero() {
		s.refuse("%s", cleanText(param(m, -1)))
	}
}

func (s *session) onBanned(m *ircmsg.Message) {
	if !s.reg.welcomed {
		s.refuse("%s (%s)", cleanText(param(m, -1)), m.Command)
	}
}

// onMessage handles PRIVMSG and NOTICE: the way of every line said.
func (s *session) onMessage(m *ircmsg.Message) {
	if len(m.Params) < 2 {
		return
	}
	c := s.channel(m.Params[0])
	if b := s.historyOf(m); b != nil {
		s.onReplayed(b, m, c)
		return
	}
	nick, _, isUser := strings.Cut(m.Source, "!")
	if s.isMe(nick) {
		s.onEcho(m, c, m.Params[1])
		return
	}
	s.noteAccountTag(m)
	by := s.knownBy(c, m)
	if isUser && by != nil {
		s.sawSaid(c, by, m.Params[1])
	}
	if c == nil {
		s.fromServices(m)
		s.knockNotice(m)
	}
	kind, body, ok := s.content(m, isUser)
	if ok && isUser && c == nil {
		s.onPrivate(m, body)
	}
	if !ok || c == nil || !c.joined || !c.wanted || !isUser && s.reg.enabled["userhost-in-names"] && c.members[s.fold(nick)] == nil {
		return // private, to operators only, or a server's notice
	}
	msg := s.message(m, c, kind, body, by)
	if relayed, by := m.GetTag("draft/relaymsg"); relayed {
		if s.isMe(by) {
			return
		}
		msg.Mark = "relaymsg:" + strings.Clone(by)
	}
	at, _ := timeTag(m)
	s.take(c, msg, at, true)
}

// content is what a PRIVMSG or NOTICE says; false if it is a CTCP that says
// nothing. A question of CTCP is answered if answer is set.
func (s *session) content(m *ircmsg.Message, answer bool) (kind bridge.MessageKind, body string, ok bool) {
	body = m.Params[1]
	notice := m.Command == "NOTICE"
	if notice {
		kind = bridge.Notice
	}
	command, rest, isCTCP := ctcpBody(body)
	switch {
	case isCTCP && command == "ACTION":
		return bridge.Action, rest, true
	case isCTCP:
		if !notice && answer {
			s.answerCTCP(sourceNick(m), command, rest)
		}
		return kind, "", false
	}
	return kind, body, true
}

// knownBy is what is known of who said a line in c; nil where nobody guards it.
func (s *session) knownBy(c *channel, m *ircmsg.Message) *policy.Facts {
	if !s.guarded(c) {
		return nil
	}
	f := s.factsOf(c, m)
	return &f
}

// message makes the Message of a line to c. by is what is known of who said it.
func (s *session) message(m *ircmsg.Message, c *channel, kind bridge.MessageKind, body string, by *policy.Facts) bridge.Message {
	nick := sourceNick(m)
	msg := bridge.Message{
		ID: strings.Clone(tag(m, "msgid")), Room: c.room, From: s.sender(c, nick, tag(m, "account")), Kind: kind,
		// A line may bring 8 KiB of tags, which its text must not keep alive.
		Text: bridge.NewText(strings.Clone(toStyling(decode(body)))), Mark: strings.Clone(tag(m, markTag)),
		Time: s.said(m), Facts: by,
	}
	msg.From.Nick = strings.Clone(decode(nick))
	return msg
}

// onEcho handles our own line coming back. It is a proof and never a message.
func (s *session) onEcho(m *ircmsg.Message, c *channel, body string) {
	if c != nil && c.joined {
		c.proven = true
	}
	if s.win.labelled(s.label(m), tag(m, "msgid"), nil) || c == nil {
		return
	}
	s.win.echoed(c.room, body, tag(m, "msgid"))
}

// onTagmsg handles a message of tags alone: of interest only as an answer.
func (s *session) onTagmsg(m *ircmsg.Message) { s.win.labelled(s.label(m), "", nil) }

// onAck handles ACK, the answer where there is nothing to say.
func (s *session) onAck(m *ircmsg.Message) {
	if label := s.label(m); !s.win.labelled(label, "", nil) {
		s.emptyAnswer(label)
	}
}

// said is when a line was said: server-time where there is one.
func (s *session) said(m *ircmsg.Message) time.Time {
	if t, ok := timeTag(m); ok {
		return t
	}
	return s.now
}

// onBatch handles BATCH, which only a server sends.
func (s *session) onBatch(m *ircmsg.Message) {
	ref := param(m, 0)
	if len(ref) < 2 || strings.ContainsAny(m.Source, "!@") {
		return
	}
	if ref[0] == '-' {
		b, ok := s.batches[ref[1:]]
		delete(s.batches, ref[1:])
		switch {
		case ok && b.history():
			s.onHistoryEnd(&b)
		case ok && b.label != "" && !s.win.labelled(b.label, "", nil):
			s.emptyAnswer(b.label)
		}
		return
	}
	if ref[0] == '+' && len(s.batches) < maxBatches {
		b := batch{kind: strings.Clone(param(m, 1)), label: strings.Clone(tag(m, "label")), parent: strings.Clone(tag(m, "batch"))}
		if b.history() {
			b.label, b.target = strings.Clone(s.label(m)), strings.Clone(param(m, 2))
			b.end, _ = m.GetTag("draft/chathistory-end")
		}
		s.batches[strings.Clone(ref[1:])] = b
	}
}

// label is the label that a line answers, its own or that of a batch around it.
func (s *session) label(m *ircmsg.Message) string {
	if l := tag(m, "label"); l != "" {
		return l
	}
	id := tag(m, "batch")
	for range 4 {
		b, ok := s.batches[id]
		if !ok {
			break
		}
		if b.label != "" {
			return b.label
		}
		id = b.parent
	}
	return ""
}

// historyOf returns the batch of history that a line is in, or nil.
func (s *session) historyOf(m *ircmsg.Message) *batch {
	id := tag(m, "batch")
	for range 4 {
		b, ok := s.batches[id]
		if !ok {
			return nil
		}
		if b.history() {
			return &b
		}
		id = b.parent
	}
	return nil
}

// onError handles the numerics of refusal: of a join, or of something said.
func (s *session) onError(m *ircmsg.Message) {
	err := refusal(m.Command)
	label := s.label(m)
	if s.onJoinRefused(m) || s.onChangeRefused(m) || s.win.labelled(label, "", err) {
		return
	}
	if label != "" && changeRefusals[m.Command].commands != "" {
		return // late: what bore that label is settled, and all that is said bears one
	}
	switch m.Command {
	case "411", "412", "417":
		s.win.refused(bridge.Room{}, err)
		return
	case "263", "421", "461":
		switch param(m, 1) {
		case "SSLINFO":
			s.evidence.sslinfo = false
		case "PRIVMSG", "NOTICE":
			s.win.refused(bridge.Room{}, err)
		}
		return
	}
	if m.Command == "401" && s.fold(param(m, 1)) == s.fold(nickServ) && !s.services.watching {
		s.servicesAre(false)
	}
	if c := s.channel(param(m, 1)); c != nil {
		s.win.refused(c.room, err)
	}
}

// onFail handles FAIL (standard replies): command, code, context…, text.
func (s *session) onFail(m *ircmsg.Message) {
	err := refusal(strings.Clone(param(m, 1)))
	if label := s.label(m); s.win.labelled(label, "", err) || s.historyFailed(m, label) {
		return
	}
	if cmd := param(m, 0); cmd != "PRIVMSG" && cmd != "NOTICE" && cmd != "*" {
		return
	}
	for _, p := range m.Params[min(2, len(m.Params)):] {
		if c := s.channel(p); c != nil {
			s.win.refused(c.room, err)
			return
		}
	}
	s.win.refused(bridge.Room{}, err)
}

// onUnavailable handles 437, for a nick or a channel.
func (s *session) onUnavailable(m *ircmsg.Message) {
	if s.isupport.isChannel(param(m, 1)) {
		s.onError(m)
		return
	}
	s.onNickRefused(m)
}

// cleanText makes foreign text fit for status, logs and events: one line, no
// control characters, of bounded length.
func cleanText(s string) string {
	s = strings.Map(dropControl, decode(s))
	return strings.TrimSpace(firstPiece(s, maxDetail))
}
