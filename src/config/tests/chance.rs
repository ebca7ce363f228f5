//! What nobody thought of.

use proptest::prelude::*;

use super::*;

/// Draws values of every shape, sound and unsound.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        any::<bool>().prop_map(|flag| flag.to_string()),
        "\\PC{0,40}".prop_map(|text| format!("{text:?}")),
        "[0-9]{0,20}(ms|s|m|h|d|y|KiB|GiB)?".prop_map(|text| format!("\"{text}\"")),
        "(unix|tcp|systemd|http|https):[@/\\[\\]0-9a-z:.]{0,20}".prop_map(|it| format!("\"{it}\"")),
        Just("[]".to_owned()),
        Just("[[\"a\", 1], {}]".to_owned()),
        Just("{ a = 1 }".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_files_never_panic(text in "(?s).{0,300}") {
        prop_assert!(Given::nothing().file("b.toml", &text).load().is_err());
        prop_assert!(Given::nothing().file("b.json", &text).load().is_err());
    }

    #[test]
    fn arbitrary_values_of_real_keys_never_panic(rows in prop::collection::vec((0..200_usize, value()), 1..6)) {
        let keys = entries();
        let lines = rows.iter().map(|(index, value)| format!("{} = {value}", keys[index % keys.len()]));
        let text = lines.collect::<Vec<_>>().join("\n");
        drop(Given::nothing().file("b.toml", &text).load());
        let pairs: Vec<_> = rows
            .iter()
            .map(|(index, value)| (environment::variable_of(&keys[index % keys.len()]), value))
            .collect();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert!(Given::nothing().variables(&pairs).load().is_err(), "no row makes a whole configuration");
    }

    #[test]
    fn durations_mean_what_they_say(millis in 1..3_600_000_u64) {
        let text = BASE.replace("[okta]", &format!("[okta]\nrequest_timeout = \"{millis}ms\""));
        let loaded = Given::nothing().file("b.toml", &text).loaded();
        prop_assert_eq!(loaded.config.okta.request_timeout.as_millis(), u128::from(millis));
        // What is shown is itself a value that means the same.
        let shown = loaded.effective.iter().find(|it| it.key == "okta.request_timeout").unwrap();
        let again = BASE.replace("[okta]", &format!("[okta]\nrequest_timeout = {}", shown.value.as_ref().unwrap()));
        let again = Given::nothing().file("b.toml", &again).loaded();
        prop_assert_eq!(again.config.okta.request_timeout.as_millis(), u128::from(millis));
    }
}
