package archive

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/encoding/charmap"
)

// Options say how logs are read.
type Options struct {
	Format Format // "": each log is looked at
	// Charset is what lines are in that are not UTF-8; nil: Windows-1252.
	Charset *charmap.Charmap
	// Since and Until are the first and the last day taken, "" for no bound.
	Since, Until string
	// From is the zone of the times in the logs, nil: that of this machine. To is that
	// of the page, nil: as they were logged.
	From, To *time.Location
	Title    string // of the page; "": of the channels
}

// log is one file.
type log struct {
	path    string
	channel string
	format  Format
	first   string // day and time of its first line
	day     string // from its name
}

// ErrNoLogs is returned where nothing was found to read.
var ErrNoLogs = errors.New("no logs")

// Archive is a set of logs, looked at and in order.
type Archive struct {
	opt  Options
	logs []log
	// Skipped are the files of folders that are no channel's by their name: private
	// talk, above all. Who wants one of them names it.
	Skipped []string
}

// Open looks at the logs: files, and folders with the logs of channels in them. The
// error joins one for each that cannot be read.
func Open(paths []string, opt Options) (*Archive, error) {
	if opt.Charset == nil {
		opt.Charset = charmap.Windows1252
	}
	if opt.From == nil {
		opt.From = time.Local
	}
	a := &Archive{opt: opt}
	var errs []error
	seen := map[string]bool{}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if name := d.Name(); path != root && strings.HasPrefix(name, ".") {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			info, err := os.Stat(path) // a link to a file is one
			if err != nil || !info.Mode().IsRegular() || seen[path] {
				return err
			}
			seen[path] = true
			if path != root && !isChannel(channelOf(path)) {
				a.Skipped = append(a.Skipped, path)
				return nil
			}
			l, err := a.look(path)
			if errors.Is(err, errEmpty) {
				return nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", path, err))
				return nil
			}
			a.logs = append(a.logs, l)
			return nil
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(a.logs) == 0 {
		return nil, fmt.Errorf("%w of channels in %s", ErrNoLogs, strings.Join(paths, ", "))
	}
	slices.SortStableFunc(a.logs, func(x, y log) int {
		return strings.Compare(x.channel+"\x00"+x.first+"\x00"+x.path, y.channel+"\x00"+y.first+"\x00"+y.path)
	})
	return a, nil
}

// Channels lists the channels, in the order of the page.
func (a *Archive) Channels() []string {
	var out []string
	for _, l := range a.logs {
		out = append(out, l.channel)
	}
	return slices.Compact(out)
}

// look finds out the format of a log, and when it begins.
func (a *Archive) look(path string) (log, error) {
	l := log{path: path, channel: channelOf(path), day: dateOf(filepath.Base(path)), format: a.opt.Format}
	f, err := openLog(path)
	if err != nil {
		return l, err
	}
	defer func() { _ = f.Close() }()
	// As much as tells the format; a day of an irssi log may begin with many joins.
	const sample = 200
	var lines []string
	r := newReader(f, Irssi, a.opt.Charset, "", &Counts{})
	for len(lines) < sample {
		s, err := r.line()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return l, err
		}
		lines = append(lines, s)
	}
	found, err := detect(lines)
	switch {
	case l.format == "" && err != nil, errors.Is(err, errEmpty):
		return l, err
	case l.format == "":
		l.format = found
	}
	at := newReader(strings.NewReader(strings.Join(lines, "\n")), l.format, a.opt.Charset, l.day, &Counts{})
	if first, err := at.next(); err == nil {
		l.first = first.Day + " " + first.Time
	}
	return l, nil
}

// channelOf names the channel of a log by its path: the file without its date, or,
// where the file is a date (ZNC), the folder.
func channelOf(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".gz")
	for _, ext := range []string{".log", ".txt", ".weechatlog"} {
		name = strings.TrimSuffix(name, ext)
	}
	name = strings.TrimPrefix(name, "irc.")
	if m := nameDate.FindStringSubmatchIndex(name); m != nil {
		name = strings.Trim(name[:m[2]], "._- ")
	}
	if name == "" {
		name = filepath.Base(filepath.Dir(path))
	}
	return clean(strings.ToValidUTF8(name, "?"))
}

// isChannel reports whether a name is a channel's, or holds one's as
// "libera.#dev" and "ada_corp_#dev" do.
func isChannel(name string) bool {
	return strings.ContainsRune(name, '#') || name != "" && strings.ContainsRune("&+!", rune(name[0]))
}

// Write writes the page. It holds one line at a time. The error is that of reading,
// of writing, or of ctx.
func (a *Archive) Write(ctx context.Context, w io.Writer) (Counts, error) {
	var counts Counts
	title := a.opt.Title
	if title == "" {
		title = "Archive of " + strings.Join(a.Channels(), ", ")
	}
	p := newPage(w, title, a.about())
	channel, begun := "", false
	for _, l := range a.logs {
		counts.Files++
		err := a.copyLog(ctx, l, &counts, func(line Line) {
			if !begun || l.channel != channel {
				channel, begun = l.channel, true
				p.chapter(channel)
			}
			p.line(line)
		})
		if err != nil {
			return counts, fmt.Errorf("archive: %s: %w", l.path, err)
		}
	}
	if err := p.end(); err != nil {
		return counts, fmt.Errorf("archive: write: %w", err)
	}
	return counts, nil
}

// about tells of the times in the page.
func (a *Archive) about() string {
	out := "From logs of IRC. Times are as they were logged"
	if a.opt.From != time.Local {
		out += ", in " + a.opt.From.String()
	}
	if a.opt.To != nil {
		out = "From logs of IRC. Times are in " + a.opt.To.String()
	}
	if a.opt.Since != "" || a.opt.Until != "" {
		out += "; days from " + first(a.opt.Since, "the beginning") + " to " + first(a.opt.Until, "the end")
	}
	return out + "."
}

func first(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// copyLog hands over the lines of one log.
func (a *Archive) copyLog(ctx context.Context, l log, counts *Counts, put func(Line)) error {
	f, err := openLog(l.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	r := newReader(f, l.format, a.opt.Charset, l.day, counts)
	r.zone = zones(a.opt.From, a.opt.To)
	for {
		line, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if within(line.Day, a.opt.Since, a.opt.Until) {
			put(line)
		}
		if counts.Lines%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// openLog opens a log, packed by gzip or not.
func openLog(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(path, ".gz") {
		return f, nil
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return unpacked{z, f}, nil
}

// unpacked is a packed file that is read.
type unpacked struct {
	*gzip.Reader
	file io.Closer
}

func (u unpacked) Close() error { return errors.Join(u.Reader.Close(), u.file.Close()) }
