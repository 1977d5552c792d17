-- 1. Tickets of each day, by category
select substr(stored_at, 1, 10) as day, coalesce(category, 'open') as category, count(*) as tickets
from tickets_v group by 1, 2 order by 1, 2;

-- 2. What waits for a person, by the guess
select coalesce(suggestion, 'none') as guess, count(*) as tickets
from tickets_v where status = 'needs_review' group by 1 order by 2 desc, 1;

-- 3. Share of tickets with a category, by language
select coalesce(language, 'unclear') as language, avg(case when category is null then 0.0 else 1.0 end) as sure
from tickets_v group by 1 order by 1;

-- 4. How often persons agreed with each classifier
select a.classifier, a.question, count(*) as judged, avg(case when a.value = v.value then 1.0 else 0.0 end) as agreed
from answers_v a join verdicts_v v on v.ticket_id = a.ticket_id and v.question = a.question
where a.verdict = 0 and v.value is not null group by 1, 2 order by 1, 2;

-- 5. What was mistaken for what
select a.value as answer, v.value as verdict, count(*) as tickets
from answers_v a join verdicts_v v on v.ticket_id = a.ticket_id and v.question = a.question
where a.verdict = 0 and a.value <> v.value group by 1, 2 order by 3 desc, 1, 2;

-- 6. What each classifier costs a day
select substr(answered_at, 1, 10) as day, classifier, sum(cost_usd) as usd, sum(input_tokens + output_tokens) as tokens
from answers_v where verdict = 0 group by 1, 2 order by 1, 2;

-- 7. How sure the answers are
select case when confidence >= 0.9 then '0.9' when confidence >= 0.7 then '0.7' when confidence >= 0.5 then '0.5'
    else 'below' end as from_confidence, count(*) as answers
from answers_v where confidence is not null group by 1 order by 1;

-- 8. Deliveries by destination, and what they took
select destination, state, count(*) as deliveries, sum(attempts) as attempts
from deliveries_v group by 1, 2 order by 1, 2;

-- 9. Who decided how much
select actor, count(*) as verdicts, min(given_at) as since from verdicts_v group by 1 order by 2 desc, 1;

-- 10. What holds of each question
select question, held, count(*) as tickets from answers_v where held is not null group by 1, 2 order by 1, 3 desc, 2;
