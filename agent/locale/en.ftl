# What Vitrine tells people at the workstation. A translation is a file like this one, with the same messages and the
# same $variables. Names of tiers, destinations and programs come from the policy and are not translated.

# A file that was made from a master, or is one, was to go to a place that may not receive it.
title-transfer = { $file } may not go to { $place }
# A program was to open a master.
title-open = { $file } may not be opened by { $program }

# $tier and $ceiling are names of resolution classes, as “public” or “master”.
why-ceiling = It shows { $master } at the resolution “{ $tier }”; { $place } may receive “{ $ceiling }” at most.
why-nothing = It shows { $master }, and nothing that was made from a master may go to { $place }.
why-vault = The masters of “{ $collection }” are opened by few programs alone, and { $program } is none of them.
why-area = With it, more of { $master } would have gone to { $place } than may.
why-objects = With it, more objects would have gone to { $place } today than may.
why-reason = It may go to { $place } only for a reason that is recorded, and none was given.
why-approval = It may go to { $place } only for a reason that somebody else has approved.
why-other = The policy says so.
# The policy only watches: nothing is refused, for now.
why-audit = For now this is only recorded: it went through.

# $limits is a list of the three that begin with “limit”.
do-smaller = Save a copy of { $limits } on this workstation first, and copy that one.
# $command is what is typed in a terminal.
do-export = Or let Vitrine do it: { $command }
limit-megapixels = at most { $megapixels } megapixels
limit-scale = at most { $percent } % of the master’s width
limit-depth = at most { $bits } bits per channel
limit-separator = { ", " }
do-justify = Say why it has to go there, and try again: vitrine justify { $id } "the reason"
do-approval = Say why it has to go there, and somebody else decides: vitrine justify { $id } "the reason"
do-ask = Ask whoever looks after Vitrine whether { $place } may receive it.
do-ask-vault = Open it with a program that may, or ask whoever looks after Vitrine.
do-tomorrow = Try again tomorrow, or ask whoever looks after Vitrine.

# Behind the name of a file: others were refused in the same seconds.
and-more =
    { $count ->
        [one] { $title } (and one more)
       *[other] { $title } (and { $count } more)
    }

# How `vitrine why` names what it prints.
label-file = File
label-master = Master
label-program = Program
label-target = To
label-why = Why
label-do = Instead
label-record = On record
label-id = ID
none = Nothing was refused to you since the agent began to keep count.
none-of-file = Nothing was refused to you with { $file }.

# What `vitrine justify` says when the reason was taken.
given = { $file } may go to { $place } for { $minutes } minutes. Your reason is on record as { $id }.

# Where the policy wants a second person to approve the reason.
asked = Somebody else has to approve that { $file } may go to { $place } for { $minutes } minutes. Your reason is on record as { $id }.
# How it stands with that. $by is whoever answered, $time a time of day with its date, $note a text in his language.
title-approved = { $file } may go to { $place }
approval-asking = Approval was asked for, but the collector has not got it yet, and until then nothing may go there. It is tried until { $time }.
approval-pending = Approval was asked for. You are told on the desktop and by vitrine why when somebody has answered. If nobody has by { $time }, ask again.
approval-approved = { $by } approved it: try again, until { $time }.
approval-denied = { $by } did not approve it.
approval-expired = Nobody answered in time.
approval-failed = Nobody could approve it: { $note }
approval-note = Note: { $note }
