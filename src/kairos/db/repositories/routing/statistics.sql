-- Applies a batch of judgements in one statement. The positions of its task types are locked before (TAKE).
--
-- Each changed row decays by γ^k·2^(−Δt/half-life), where k is the number of observations of its task type since its last
-- change; then the sums of the batch are added, as llm/routing/statistics.py does in memory. Unchanged rows decay when
-- they are read, which is equivalent: decays multiply. A repeated batch counts each call once, because its metric row
-- records that it was counted.
with judged as (
  select * from unnest(cast(:decisions as uuid[]), cast(:qualities as double precision[]), cast(:sources as text[]))
    as judged (decision_id, quality, source)
),
found as materialized (
  select
    call.id, call.at, call.decision_id, call.task_type, call.model, call.first_token_s, call.duration_s, call.cost_usd,
    call.input_tokens, call.output_tokens, call.position, call.turn, call.observed_at,
    nullif(call.output_tokens, 0) / nullif(greatest(call.duration_s - coalesce(call.first_token_s, 0), 0), 0)
      as tokens_per_s,
    call.quality as old_quality, judged.quality, judged.source,
    call.observed_at is null as new_call,
    judged.quality is not null and call.position is null as new_quality,
    judged.quality is not null and call.position is not null
      and array_position(cast(:ranks as text[]), judged.source)
        >= array_position(cast(:ranks as text[]), call.quality_source) as corrected
  from model_performance_metrics as call
  join judged using (decision_id)
  where call.project_id = :project_id and call.success and call.at >= :since
),
places as materialized (
  select task_type, stood.position + batch.observations as position,
    greatest(stood.last_change, coalesce(:at, statement_timestamp())) as at
  from router_positions as stood
  join (select task_type, count(*) filter (where new_quality) as observations from found group by task_type) as batch
    using (task_type)
  where stood.project_id = :project_id
),
aged as (
  -- In the averages the newest call has weight 1, and each earlier call `short_gamma` times the weight of the next.
  select *, exp(greatest(:ln_short * (row_number() over newest_first - 1), -200)) as weight
  from found where new_call
  window newest_first as (partition by task_type, model order by at desc, id desc)
),
averages as (
  select task_type, model, count(*) as number, sum(weight) as weight,
    sum(weight * first_token_s) / sum(weight) filter (where first_token_s is not null) as first_token_s,
    sum(weight) filter (where first_token_s is not null) as first_token_weight,
    sum(weight * duration_s) / sum(weight) as latency_s,
    sum(weight * tokens_per_s) / sum(weight) filter (where tokens_per_s is not null) as tokens_per_s,
    sum(weight) filter (where tokens_per_s is not null) as tokens_per_s_weight,
    sum(weight * cost_usd) / sum(weight) filter (where cost_usd is not null) as cost_usd,
    sum(weight) filter (where cost_usd is not null) as cost_weight,
    sum(weight * input_tokens) / sum(weight) filter (where input_tokens is not null) as input_tokens,
    sum(weight) filter (where input_tokens is not null) as input_weight,
    sum(weight * output_tokens) / sum(weight) filter (where output_tokens is not null) as output_tokens,
    sum(weight) filter (where output_tokens is not null) as output_weight
  from aged group by task_type, model
),
raw as (
  select task_type, model,
    count(*) filter (where new_quality) as observations,
    coalesce(sum(quality) filter (where new_quality), 0) as s,
    coalesce(sum(quality * quality) filter (where new_quality), 0) as q
  from found group by task_type, model
),
rows as materialized (
  -- The current rows, with `fading`: the logarithm of their decay at the batch's position.
  select task_type, model, place.position, place.at,
    coalesce(stood.turn, 0) + raw.observations as turn,
    coalesce((place.position - stood.position) * :ln_gamma
      + cast(extract(epoch from place.at - stood.last_change) as double precision) * :ln_second, 0) as fading,
    :ln_short * raw.observations as shorter,
    raw.observations, raw.s as new_s, raw.q as new_q,
    coalesce(stood.n, 0) as n, coalesce(stood.s, 0) as s, coalesce(stood.q, 0) as q,
    coalesce(stood.short_n, 0) as short_n, coalesce(stood.short_s, 0) as short_s,
    coalesce(stood.short_q, 0) as short_q,
    coalesce(stood.calls, 0) as calls, stood.first_token_s, stood.latency_s, stood.tokens_per_s, stood.cost_usd,
    stood.input_tokens, stood.output_tokens
  from raw
  join places as place using (task_type)
  left join (select * from router_statistics where project_id = :project_id) as stood using (task_type, model)
),
corrections as (
  -- Correction by a late label: w·(r′−r) and w·(r′²−r²), where w is the call's weight at the batch's position.
  select task_type, model, sum(long * step) as s, sum(long * squares) as q, sum(short * step) as short_s,
    sum(short * squares) as short_q
  from (
    select found.task_type, found.model, found.quality - found.old_quality as step,
      found.quality * found.quality - found.old_quality * found.old_quality as squares,
      exp(greatest(age.exponent, -200)) as long,
      exp(greatest(age.exponent + :ln_short * (rows.turn - found.turn), -200)) as short
    from found
    join rows using (task_type, model)
    cross join lateral (
      select (rows.position - found.position) * :ln_gamma
        + cast(extract(epoch from rows.at - found.observed_at) as double precision) * :ln_second as exponent
    ) as age
    where found.corrected
  ) as label
  group by task_type, model
),
written as (
  insert into router_statistics as kept (
    project_id, task_type, model, n, s, q, short_n, short_s, short_q, turn, calls, first_token_s, latency_s,
    tokens_per_s, cost_usd, input_tokens, output_tokens, position, last_change
  )
  select :project_id, task_type, model,
    kairos_faded(rows.n, fading) + observations,
    kairos_faded(rows.s, fading) + new_s + coalesce(label.s, 0),
    kairos_faded(rows.q, fading) + new_q + coalesce(label.q, 0),
    kairos_faded(rows.short_n, fading + shorter) + observations,
    kairos_faded(rows.short_s, fading + shorter) + new_s + coalesce(label.short_s, 0),
    kairos_faded(rows.short_q, fading + shorter) + new_q + coalesce(label.short_q, 0),
    turn,
    now.calls,
    kairos_averaged(rows.first_token_s, batch.first_token_s, batch.first_token_weight / now.calls),
    kairos_averaged(rows.latency_s, batch.latency_s, batch.weight / now.calls),
    kairos_averaged(rows.tokens_per_s, batch.tokens_per_s, batch.tokens_per_s_weight / now.calls),
    kairos_averaged(rows.cost_usd, batch.cost_usd, batch.cost_weight / now.calls),
    kairos_averaged(rows.input_tokens, batch.input_tokens, batch.input_weight / now.calls),
    kairos_averaged(rows.output_tokens, batch.output_tokens, batch.output_weight / now.calls),
    rows.position, rows.at
  from rows
  left join averages as batch using (task_type, model)
  left join corrections as label using (task_type, model)
  cross join lateral (
    select kairos_faded(rows.calls, fading + :ln_short * coalesce(batch.number, 0)) + coalesce(batch.weight, 0) as calls
  ) as now
  on conflict (project_id, task_type, model) do update set
    n = excluded.n, s = excluded.s, q = excluded.q,
    short_n = excluded.short_n, short_s = excluded.short_s, short_q = excluded.short_q,
    turn = excluded.turn, calls = excluded.calls,
    first_token_s = excluded.first_token_s, latency_s = excluded.latency_s, tokens_per_s = excluded.tokens_per_s,
    cost_usd = excluded.cost_usd, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,
    position = excluded.position, last_change = excluded.last_change
),
placed as (
  update router_positions as stood set position = place.position, last_change = place.at
  from places as place where stood.project_id = :project_id and stood.task_type = place.task_type
),
marked as (
  update model_performance_metrics as call set
    quality = case when found.new_quality or found.corrected then found.quality else call.quality end,
    quality_source = case when found.new_quality or found.corrected then found.source else call.quality_source end,
    position = case when found.new_quality then rows.position else call.position end,
    turn = case when found.new_quality then rows.turn else call.turn end,
    observed_at = case when found.new_quality or found.new_call then rows.at else call.observed_at end
  from found join rows using (task_type, model)
  where call.project_id = :project_id and call.id = found.id and call.at = found.at and call.at >= :since
)
update routing_decisions as decision set quality = found.quality
from found
where decision.project_id = :project_id and decision.id = found.decision_id and (found.new_quality or found.corrected)
