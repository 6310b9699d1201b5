//go:build e2e

package archive

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// chromium is the browser, and what makes it one for a test.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium is installed: the page is not opened in a browser")
	return ""
}

// dump returns the page's document, as the browser has it once its scripts ran, and
// what the browser complained of.
func dump(t *testing.T, browser, url string) (dom, console string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", url)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if strings.Contains(line, "CONSOLE") {
			console += line
		}
	}
	return out.String(), console
}

var shown = regexp.MustCompile(`(?m)^<p(?: class="[ae]")?><time>`)

// In a real browser the search finds the lines that hold all words, and no others,
// and nothing of a log is carried out.
func TestSearchInABrowser(t *testing.T) {
	browser := chromium(t)
	page, _ := pageOf(t, Options{}, team(t))
	dir := t.TempDir()
	put(t, dir, "page.html", page)
	dom, console := dump(t, browser, "file://"+filepath.Join(dir, "page.html")+"#q=DEPLOY%20finished")
	if console != "" {
		t.Errorf("the browser complains: %s", console)
	}
	if !strings.Contains(dom, `<span id="n">1 line</span>`) {
		t.Errorf("not one line was found:\n%s", dom)
	}
	if got := shown.FindAllString(dom, -1); len(got) != 1 {
		t.Errorf("%d lines are shown, want 1", len(got))
	}
	if strings.Contains(dom, "<img") {
		t.Error("what a log holds became a part of the page")
	}
	whole, console := dump(t, browser, "file://"+filepath.Join(dir, "page.html"))
	if got := shown.FindAllString(whole, -1); len(got) != 19 || console != "" {
		t.Errorf("%d lines are shown, want 19; console: %s", len(got), console)
	}
}
