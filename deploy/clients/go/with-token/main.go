// Counts the service users of a team, with a token from bearerd.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"

	"bearerd"
)

var next = regexp.MustCompile(`<([^>]*)>; rel="next"`)

func main() {
	okta := &http.Client{Transport: &bearerd.Transport{}, Timeout: 30 * time.Second}
	count, err := countUsers(okta)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(count, "service users")
}

func countUsers(okta *http.Client) (int, error) {
	count := 0
	url := os.Getenv("OKTAPAM_API_HOST") + "/v1/teams/" + os.Getenv("OKTAPAM_TEAM") + "/service_users"
	for url != "" {
		var page struct{ List []json.RawMessage }
		header, err := get(okta, url, &page)
		if err != nil {
			return 0, err
		}
		count += len(page.List)
		url = ""
		if link := next.FindStringSubmatch(header.Get("Link")); link != nil {
			url = link[1]
		}
	}
	return count, nil
}

func get(okta *http.Client, url string, into any) (http.Header, error) {
	answer, err := okta.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(answer.Body)
		return nil, fmt.Errorf("%s: %s %s", url, answer.Status, why)
	}
	return answer.Header, json.NewDecoder(answer.Body).Decode(into)
}
