title-transfer = { $file } darf nicht nach { $place }
title-open = { $file } darf von { $program } nicht geöffnet werden

why-ceiling = Die Datei zeigt { $master } in der Auflösung „{ $tier }“; { $place } darf höchstens „{ $ceiling }“ erhalten.
why-nothing = Die Datei zeigt { $master }, und nichts, was aus einem Master entstanden ist, darf nach { $place }.
why-vault = Die Master von „{ $collection }“ werden nur von wenigen Programmen geöffnet, und { $program } gehört nicht dazu.
why-area = Damit wäre mehr von { $master } nach { $place } gelangt als erlaubt.
why-objects = Damit wären heute mehr Objekte nach { $place } gelangt als erlaubt.
why-reason = Nach { $place } darf das nur mit einer Begründung, die aufgezeichnet wird, und es wurde keine gegeben.
why-other = So sieht es die Richtlinie vor.
why-audit = Vorerst wird das nur aufgezeichnet: Es ist durchgegangen.

do-smaller = Speichern Sie zuerst auf diesem Arbeitsplatz eine Kopie mit { $limits } und kopieren Sie diese.
do-export = Oder lassen Sie es Vitrine tun: { $command }
limit-megapixels = höchstens { $megapixels } Megapixeln
limit-scale = höchstens { $percent } % der Breite des Masters
limit-depth = höchstens { $bits } Bit pro Kanal
limit-separator = { ", " }
do-justify = Sagen Sie, warum es dorthin muss, und versuchen Sie es noch einmal: vitrine justify { $id } "der Grund"
do-ask = Fragen Sie die Betreuung von Vitrine, ob { $place } die Datei erhalten darf.
do-ask-vault = Öffnen Sie die Datei mit einem erlaubten Programm oder fragen Sie die Betreuung von Vitrine.
do-tomorrow = Versuchen Sie es morgen wieder oder fragen Sie die Betreuung von Vitrine.

and-more =
    { $count ->
        [one] { $title } (und eine weitere)
       *[other] { $title } (und { $count } weitere)
    }

label-file = Datei
label-master = Master
label-program = Programm
label-target = Nach
label-why = Warum
label-do = Stattdessen
label-record = Im Protokoll
label-id = Kennung
none = Ihnen wurde nichts verweigert, seit der Agent mitzählt.
none-of-file = Ihnen wurde mit { $file } nichts verweigert.

given = { $file } darf für { $minutes } Minuten nach { $place }. Ihr Grund ist unter { $id } aufgezeichnet.
