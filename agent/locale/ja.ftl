title-transfer = { $file } を { $place } へ送ることはできません
title-open = { $program } で { $file } を開くことはできません

why-ceiling = このファイルは { $master } を解像度「{ $tier }」で含みます。{ $place } が受け取れるのは「{ $ceiling }」までです。
why-nothing = このファイルは { $master } から作られています。マスター画像から作られたものは { $place } へ送れません。
why-vault = 「{ $collection }」のマスター画像を開けるのは限られたプログラムだけで、{ $program } は含まれていません。
why-area = これを送ると、{ $place } に渡った { $master } の範囲が許可された割合を超えます。
why-objects = これを送ると、本日 { $place } に渡った作品数が許可された数を超えます。
why-reason = { $place } へ送るには記録用の理由が必要ですが、理由が示されていません。
why-approval = { $place } へ送るには、別の人が承認した理由が必要です。
why-other = ポリシーで定められています。
why-audit = 現在は記録のみで、操作は実行されました。

do-smaller = まずこの端末に{ $limits }の縮小版を保存し、それをコピーしてください。
do-export = または Vitrine に任せてください： { $command }
limit-megapixels = { $megapixels } メガピクセル以下
limit-scale = マスター画像の幅の { $percent } % 以下
limit-depth = 1 チャンネル { $bits } ビット以下
limit-separator = 、
do-justify = 理由を述べてから、もう一度お試しください：vitrine justify { $id } "理由"
do-approval = 理由を述べてください。別の人が判断します：vitrine justify { $id } "理由"
do-ask = { $place } へ送ってよいか、Vitrine の担当者にお尋ねください。
do-ask-vault = 許可されたプログラムで開くか、Vitrine の担当者にお尋ねください。
do-tomorrow = 明日もう一度お試しいただくか、Vitrine の担当者にお尋ねください。

and-more =
    { $count ->
       *[other] { $title }（ほか { $count } 件）
    }

label-file = ファイル
label-master = マスター
label-program = プログラム
label-target = 送り先
label-why = 理由
label-do = 代わりに
label-record = 記録
label-id = ID
none = エージェントが記録を始めてから、あなたの操作で拒否されたものはありません。
none-of-file = { $file } について拒否された操作はありません。

given = { $file } は { $minutes } 分間 { $place } に送れます。理由は { $id } として記録されました。

asked = { $file } を { $minutes } 分間 { $place } へ送るには、別の人の承認が必要です。理由は { $id } として記録されました。
title-approved = { $file } を { $place } へ送れます
approval-asking = 承認を依頼しましたが、まだコレクターに届いていません。届いて承認されるまで送れません。{ $time } まで再試行します。
approval-pending = 承認を依頼しました。回答があれば、デスクトップと vitrine why でお知らせします。{ $time } までに回答がなければ、もう一度依頼してください。
approval-approved = { $by } が承認しました。{ $time } までにもう一度お試しください。
approval-denied = { $by } は承認しませんでした。
approval-expired = 期限までに回答がありませんでした。
approval-failed = 承認を得られませんでした：{ $note }
approval-note = メモ：{ $note }
