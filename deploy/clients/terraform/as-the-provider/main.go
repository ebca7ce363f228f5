// Counts the service users of a team, and reads its variables as Okta's own clients do: `provider`
// as the Terraform provider okta/oktapam, `sdk` as the Go SDK inside it. Neither can be had here;
// this stands in for them in deploy/clients/check.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
)

// The variables' names after OKTAPAM_: host, team, key, secret.
var names = map[string][4]string{
	"provider": {"API_HOST", "TEAM", "KEY", "SECRET"},
	"sdk":      {"HOST", "TEAM_NAME", "API_KEY", "API_SECRET"},
}

var trusted = []string{"scaleft.com", "scaleft.io", "okta.com", "oktapreview.com", "okta-emea.com"}

// With less life than this left, both may mint again before each call.
const soon = 2 * time.Minute

var next = regexp.MustCompile(`<([^>]*)>; rel="next"`)

func main() {
	name, known := names[strings.Join(os.Args[1:], " ")]
	if !known {
		fail("say provider or sdk")
	}
	host, team, key, secret := read(name[0]), read(name[1]), read(name[2]), read(name[3])
	checkTrusted(host)
	base := host + "/v1/teams/" + url.PathEscape(team)
	token := mint(base, team, key, secret)
	count := 0
	for page := base + "/service_users"; page != ""; {
		var body struct{ List []json.RawMessage }
		header := ask("GET", page, token, nil, &body)
		count += len(body.List)
		page = ""
		if link := next.FindStringSubmatch(header.Get("Link")); link != nil {
			page = link[1]
		}
	}
	fmt.Println(count, "service users")
}

func read(name string) string {
	value := os.Getenv("OKTAPAM_" + name)
	if value == "" {
		fail("OKTAPAM_%s is not set", name)
	}
	return value
}

// A name's ending is enough for Okta's own domains; another host has to be named whole.
func checkTrusted(host string) {
	parsed, err := url.Parse(host)
	if err != nil {
		fail("%v", err)
	}
	for _, domain := range trusted {
		if strings.HasSuffix(parsed.Hostname(), domain) {
			return
		}
	}
	if parsed.Hostname() != os.Getenv("OKTAPAM_TRUSTED_DOMAIN_OVERRIDE") {
		fail("%q is not within a trusted domain", parsed.Hostname())
	}
}

func mint(base, team, key, secret string) string {
	pair, err := json.Marshal(map[string]string{"key_id": key, "key_secret": secret})
	if err != nil {
		fail("%v", err)
	}
	var grant struct {
		BearerToken string    `json:"bearer_token"`
		ExpiresAt   time.Time `json:"expires_at"`
		TeamName    string    `json:"team_name"`
	}
	ask("POST", base+"/service_token", "", pair, &grant)
	if !strings.EqualFold(grant.TeamName, team) {
		fail("the token is for team %q", grant.TeamName)
	}
	if time.Until(grant.ExpiresAt) < soon {
		fail("the token ends at %v: too soon", grant.ExpiresAt)
	}
	return grant.BearerToken
}

func ask(method, url, token string, body []byte, into any) http.Header {
	call, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		fail("%v", err)
	}
	call.Header.Set("Accept", "application/json")
	call.Header.Set("Content-Type", "application/json")
	if token != "" {
		call.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(call)
	if err != nil {
		fail("%v", err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil || answer.StatusCode != 200 {
		fail("%s %s: %s", method, url, answer.Status)
	}
	return answer.Header
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}
