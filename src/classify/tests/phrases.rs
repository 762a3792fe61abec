//! Requests in many phrasings and languages, on a change of code by somebody who may write.

use super::*;
use Task::{Docs, Implementation as Code, Review};

/// English, by what decides.
const ENGLISH: &[(&str, Task)] = &[
    // Judgements, some of them with verbs of change in them.
    ("@claude ptal", Review),
    ("@agent-bot WDYT?", Review),
    ("@claude is it safe to merge this before the freeze?", Review),
    ("@codex what would break if we dropped the fallback?", Review),
    ("@claude walk me through the scheduler changes", Review),
    ("@claude give this a once-over before I press the button", Review),
    ("@claude sanity check the maths in the backoff, please", Review),
    ("@claude can you spot anything wrong with the locking here?", Review),
    ("@claude do you see a race between push and drain?", Review),
    ("@claude nothing to edit, I only want to know whether the cache is ever cleared", Review),
    ("@claude compare this with the approach in #41 and tell me which one you prefer", Review),
    ("@claude how would you fix the flaky test? don't write any code yet", Review),
    ("@claude would renaming the struct break anyone?", Review),
    ("@claude suggest a better name for this function", Review),
    ("@claude estimate how much work a port to async would be", Review),
    ("@claude find out why the nightly job is slow and report back", Review),
    ("@claude write a summary of this pull request", Review),
    ("@claude leave review comments inline, but do not commit", Review),
    ("@claude looks good?", Review),
    ("/review focus on error handling", Review),
    ("/summarize", Review),
    ("/ask does this need a migration?", Review),
    ("@claude which of these docs are out of date? Just list them.", Review),
    ("@claude proofread the guide and tell me what you find, no edits", Review),
    ("@claude verify the changelog entry against the diff", Review),
    ("@claude triage this", Review),
    ("@claude let me know if the tests cover the empty case", Review),
    ("@claude before we implement retries: is the idea sound?", Review),
    // Work on code.
    ("@claude make CI green", Code),
    ("@claude the parser chokes on empty input, please sort it out", Code),
    ("@claude CI fails on macOS. Fix it.", Code),
    ("@claude take this over and get it ready to merge", Code),
    ("@claude add a regression test for the crash", Code),
    ("@claude bump serde to the latest minor", Code),
    ("@claude backport this to release-2", Code),
    ("@claude rename `fetchAll` to `list` everywhere", Code),
    ("@claude extract the retry loop into a helper", Code),
    ("@claude squash the commits and rebase onto main", Code),
    ("@claude please address all of the feedback above", Code),
    ("@claude handle the review comments from Dana", Code),
    ("@claude implement what the RFC in docs/rfc-7.md describes", Code),
    ("@claude apply suggestions 1 and 3 from your review", Code),
    ("@claude add type hints to the public functions", Code),
    ("@claude the error message has a typo, correct it in the code", Code),
    ("@claude update the README and add the flag to the parser", Code),
    ("@claude wire the new option into the config loader and document it", Code),
    ("@claude regenerate the lockfile", Code),
    ("@claude run prettier over the changed files", Code),
    ("@claude convert the class to a function component", Code),
    ("@claude drop support for Node 16", Code),
    ("@claude let's go with option B, go ahead", Code),
    ("@claude yes, please do it", Code),
    ("@claude undo the last change to the scheduler", Code),
    ("@claude fix the doc build", Code),
    ("@claude add German translations for the settings screen strings", Code),
    ("@claude make the linter happy", Code),
    ("@claude mock the clock in the queue tests", Code),
    ("/fix the failing lint", Code),
    ("/test", Code),
    ("/refactor use an iterator", Code),
    ("/implement", Code),
    ("@claude, can we get a benchmark for this?", Code),
    ("@claude the docs are right and the code is wrong, so change the code", Code),
    ("@claude speed up the query", Code),
    ("@claude silence the deprecation warning", Code),
    // Work on prose.
    ("@claude the readme still mentions the old flag, update it", Docs),
    ("@claude add docstrings to the public functions", Docs),
    ("@claude document the new environment variable", Docs),
    ("@claude fix the grammar in the contributing guide", Docs),
    ("@claude write release notes for this", Docs),
    ("@claude add a changelog entry", Docs),
    ("@claude please tidy up the wording of the tutorial", Docs),
    ("@claude add a usage example to the README", Docs),
    ("@claude update docs/install.md to match", Docs),
    ("@claude fix the broken links in docs/", Docs),
    ("@claude write a short FAQ about rate limits", Docs),
    ("@claude the comment above the loop is misleading, please reword it", Docs),
    ("@claude translate the getting started page to French", Docs),
    ("@claude correct the spelling in the comments", Docs),
    ("@claude expand the section on retries with an explanation", Docs),
    ("@claude add javadoc to Queue", Docs),
    ("@claude draw a sequence diagram of the handshake for the docs", Docs),
    ("/docs", Docs),
    ("/changelog", Docs),
    ("@claude update the licence header's year", Docs),
    ("@claude explain the retry option in the README", Docs),
    ("@claude address the wording nits from the review", Docs),
    ("@claude leave the code alone, only fix the comments", Docs),
];

/// Other languages: the text, and what it asks for.
const OTHERS: &[(&str, Task)] = &[
    // German
    ("@claude bitte einmal drüberschauen", Review),
    ("@claude was hältst du von diesem Ansatz?", Review),
    ("@claude kannst du den Test reparieren?", Code),
    ("@claude bau bitte eine Wiederholung bei Zeitüberschreitung ein", Code),
    ("@claude bitte die Anleitung um einen Abschnitt zu Proxys erweitern", Docs),
    ("@claude korrigiere die Tippfehler im Handbuch", Docs),
    ("@claude erkläre mir, warum die Funktion hier blockiert", Review),
    // French
    ("@claude peux-tu relire cette PR ?", Review),
    ("@claude qu'en penses-tu ?", Review),
    ("@claude corrige le test qui échoue", Code),
    ("@claude ajoute une option pour désactiver le cache", Code),
    ("@claude mets à jour la documentation de l'installation", Docs),
    ("@claude ajoute une entrée au journal des modifications", Docs),
    // Spanish
    ("@claude ¿qué opinas de este cambio?", Review),
    ("@claude explica por qué falla la prueba", Review),
    ("@claude arregla el error del analizador", Code),
    ("@claude agrega una prueba para la lista vacía", Code),
    ("@claude actualiza la documentación del comando", Docs),
    ("@claude corrige las faltas de ortografía del README", Docs),
    // Portuguese
    ("@claude pode revisar este PR?", Review),
    ("@claude o que você acha dessa abordagem?", Review),
    ("@claude corrija o teste que está falhando", Code),
    ("@claude adicione um parâmetro de tempo limite", Code),
    ("@claude atualize a documentação da instalação", Docs),
    // Italian
    ("@claude puoi dare un'occhiata?", Review),
    ("@claude cosa ne pensi?", Review),
    ("@claude sistema il test che fallisce", Code),
    ("@claude aggiungi un'opzione per la cache", Code),
    ("@claude aggiorna la documentazione", Docs),
    // Japanese
    ("@claude レビューをお願いします", Review),
    ("@claude この変更についてどう思いますか？", Review),
    ("@claude 失敗しているテストを直してください", Code),
    ("@claude タイムアウトの設定を追加してください", Code),
    ("@claude READMEの誤字を直してください", Docs),
    ("@claude ドキュメントを更新してください", Docs),
    // Chinese
    ("@claude 请帮忙看一下这个改动", Review),
    ("@claude 你觉得这个方案怎么样？", Review),
    ("@claude 修复失败的测试", Code),
    ("@claude 请增加一个超时参数", Code),
    ("@claude 请更新文档", Docs),
    ("@claude 修正說明文件裡的錯字", Docs),
    // Korean
    ("@claude 이 PR 리뷰해 주세요", Review),
    ("@claude 이 방식 어떻게 생각해요?", Review),
    ("@claude 실패하는 테스트를 고쳐 주세요", Code),
    ("@claude 타임아웃 옵션을 추가해 주세요", Code),
    ("@claude 문서를 업데이트해 주세요", Docs),
    // Russian
    ("@claude посмотри, пожалуйста, этот PR", Review),
    ("@claude объясни, почему падает тест", Review),
    ("@claude исправь падающий тест", Code),
    ("@claude добавь параметр таймаута", Code),
    ("@claude обнови документацию", Docs),
    ("@claude исправь опечатки в README", Docs),
];

fn wrong(cases: &[(&str, Task)]) -> Vec<String> {
    let answer = |text| classify(&commented(code_change(), text, person(Some("MEMBER"))), &[]);
    let judged = cases.iter().map(|(text, task)| (text, task, answer(text)));
    judged
        .filter(|(_, task, class)| class.task != **task)
        .map(|(text, task, class)| format!("{text}\n    expected {task}, got {}", class.reasons[0]))
        .collect()
}

#[test]
fn english() {
    let wrong = wrong(ENGLISH);
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), ENGLISH.len(), wrong.join("\n"));
}

#[test]
fn other_languages() {
    let wrong = wrong(OTHERS);
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), OTHERS.len(), wrong.join("\n"));
}

/// More of them, one a line: the task, a tab, the words.
const WRITTEN: &str = include_str!("requests.txt");

#[test]
fn as_people_write_them() {
    let cases: Vec<(String, Task)> = WRITTEN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (task, words) = line.split_once('\t').expect("a task and words");
            let text =
                if words.starts_with(['/', '@']) { words.to_owned() } else { format!("@claude {words}") };
            (text, task.parse().expect("a task"))
        })
        .collect();
    let cases: Vec<(&str, Task)> = cases.iter().map(|(text, task)| (text.as_str(), *task)).collect();
    let wrong = wrong(&cases);
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
